"""How the API server is reached, and which namespaces are meant. kopf reads service accounts and kubeconfigs; it is asked in one place."""

from typing import Final

import kopf

from services.operator.settings import OperatorSettings
from services.runtime.service import StartupError

ALL: Final = "*"
DEFAULT: Final = "default"  # what kubectl takes where a kubeconfig names none


def login() -> kopf.ConnectionInfo:
    """Who we are, read anew: a service account's token is replaced every hour or so."""
    settings = kopf.OperatorSettings()
    try:
        found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    except (OSError, KeyError, kopf.LoginError) as error:
        raise StartupError(f"the kubeconfig cannot be used: {error}") from None
    if found is None:
        raise StartupError("there is no API server: this is no pod with a service account, and KUBECONFIG names no file")
    if not isinstance(found, kopf.ConnectionInfo):
        raise TypeError(f"kopf gave {type(found).__name__}")
    return found


def namespaces(settings: OperatorSettings, own: str | None) -> tuple[str, ...]:
    """What to watch; ('',) for all. own: the namespace that the pod or the kubeconfig is in."""
    wanted = settings.namespaces or (own or DEFAULT,)
    if ALL in wanted:
        return ("",)
    return tuple(dict.fromkeys(wanted))
