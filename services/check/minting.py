"""Tokens for whoever holds the gateways' secret: a JSON Web Token of HS256, as docs/protocol.md wants it. Pure; times are epoch seconds."""

from collections.abc import Sequence
from typing import Any

import jwt

SHORTEST_SECRET = 32


class MintingError(Exception):
    """Why no token can be made."""


def mint(
    secret: bytes, subject: str, dashboards: Sequence[str], holds: tuple[float, float], *, claim: str = "dashboards", audience: str = "", issuer: str = ""
) -> str:  # fmt: skip
    """holds: from when and until when. audience, issuer: where gateways ask for them. claim: the one that lists the dashboards."""
    if len(secret) < SHORTEST_SECRET:
        raise MintingError(f"the secret has {len(secret)} bytes, and HS256 needs {SHORTEST_SECRET}")
    claims: dict[str, Any] = {"sub": subject, "iat": int(holds[0]), "exp": int(holds[1])}
    claims |= {"aud": audience} if audience else {}
    claims |= {"iss": issuer} if issuer else {}
    return jwt.encode({**claims, **_within(claim, list(dashboards))}, secret, "HS256")


def _within(path: str, value: object) -> dict[str, object]:
    """A claim whose name has dots lies in objects."""
    name, dot, rest = path.partition(".")
    return {name: _within(rest, value) if dot else value}
