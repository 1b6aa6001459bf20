"""How gateways verify tokens, read from the gateway's own variables by who makes tokens for them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.check.minting import mint
from services.runtime.settings import setting


@dataclass(frozen=True, slots=True)
class SigningSettings:
    """What a token must have that gateways take. docs/settings.md has these variables under Gateway."""

    secret_file: str = setting("", "TIDEBOARD_GATEWAY_SECRET_FILE", "File of the secret that gateways verify tokens with")
    claim: str = setting("dashboards", "TIDEBOARD_GATEWAY_DASHBOARDS_CLAIM", "Claim that lists the dashboards that may be seen")
    audiences: tuple[str, ...] = setting(
        (), "TIDEBOARD_GATEWAY_AUDIENCES", "For whom gateways take tokens (aud); it is made for the first"
    )
    issuers: tuple[str, ...] = setting(
        (), "TIDEBOARD_GATEWAY_ISSUERS", "From whom gateways take tokens (iss); it is made as from the first"
    )


def sign(settings: SigningSettings, subject: str, dashboards: Sequence[str], seconds: float) -> str:
    """A token that holds from now on. OSError where the secret cannot be read, MintingError where it is none.

    The secret is read as the gateway reads it: the bytes of the file, but for one line's end.
    """
    secret = Path(settings.secret_file).read_bytes().removesuffix(b"\n").removesuffix(b"\r")
    now = time.time()
    audience, issuer = next(iter(settings.audiences), ""), next(iter(settings.issuers), "")
    return mint(secret, subject, dashboards, (now, now + seconds), claim=settings.claim, audience=audience, issuer=issuer)
