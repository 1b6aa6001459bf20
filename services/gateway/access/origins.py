"""Which pages may read from here: the Origin that a browser sends against the host that was asked, and the origins of the settings. Pure.

A setting is a host (`wall.example`, `wall.example:8443`), an origin (`https://wall.example`), the subdomains of a host
(`*.example`, not `example` itself), or `*` for any page.

Browsers add cookies of their own accord, so that a page anywhere could open a WebSocket in a viewer's name. So cookies count
only for pages of the same host and for those that are named; `*` names nobody.
"""

from collections.abc import Sequence
from enum import Enum
from urllib.parse import urlsplit


class Origin(Enum):
    none = "none"  # a program, or a page's plain GET from its own host
    own = "own"
    named = "named"
    anyone = "anyone"  # by `*`
    refused = "refused"

    @property
    def may_connect(self) -> bool:
        return self is not Origin.refused

    @property
    def cookies_count(self) -> bool:
        return self in (Origin.none, Origin.own, Origin.named)


def judge(origins: Sequence[str], hosts: Sequence[str], allowed: Sequence[str]) -> Origin:
    """origins, hosts: the values of these headers; more than one of either is nobody's."""
    if not origins:
        return Origin.none
    found = _parts(origins[0]) if len(origins) == 1 else None
    if found is None:
        return Origin.anyone if "*" in allowed and origins == ["null"] else Origin.refused
    scheme, host = found
    if len(hosts) == 1 and host in (hosts[0].lower(), *_with_port(scheme, hosts[0])):
        return Origin.own
    if any(_names(setting.lower(), scheme, host) for setting in allowed):
        return Origin.named
    return Origin.anyone if "*" in allowed else Origin.refused


def _parts(origin: str) -> tuple[str, str] | None:
    """Scheme and host of a well-formed origin, in lower case. RFC 6454 7.1: neither path nor user."""
    try:
        split = urlsplit(origin)
    except ValueError:
        return None
    if not split.scheme or not split.netloc or "@" in split.netloc or split.path or split.query or split.fragment:
        return None
    return split.scheme.lower(), split.netloc.lower()


def _with_port(scheme: str, host: str) -> tuple[str, ...]:
    """An origin never shows the port that its scheme implies; a Host may."""
    host = host.lower()
    port = {"http": ":80", "https": ":443"}.get(scheme, "")
    return (host.removesuffix(port),) if port and host.endswith(port) else ()


def _names(setting: str, scheme: str, host: str) -> bool:
    wanted_scheme, separator, rest = setting.partition("://")
    if separator:
        return wanted_scheme == scheme and _names(rest.rstrip("/"), scheme, host)
    if setting.startswith("*."):
        return host.endswith(setting[1:]) and len(host) > len(setting) - 1
    return host == setting
