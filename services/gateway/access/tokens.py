"""JSON Web Tokens (RFC 7519): where a request carries one, whether it holds, and what its bearer may see. Pure; now is epoch seconds.

A reason never repeats anything of the token: it goes to logs.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from jwt import PyJWS
from jwt.exceptions import InvalidSignatureError, PyJWTError

from services.gateway.access.keys import Key, KeySet
from services.gateway.access.patterns import any_matches

SUBPROTOCOL_PREFIX: Final = "tideboard.token."
LONGEST: Final = 8_192
_MOST_TRIED: Final = 4  # keys, for a token that names none
_MOST_PATTERNS: Final = 1_000
_LOOKS_LIKE_ONE: Final = re.compile(r"eyJ[\w.=-]{8,}")  # '{"' in base64, with which every JWT begins
_JWS: Final = PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})

Headers = Mapping[str, Sequence[str]]
"""Lower-case name -> values."""


class TokenError(Exception):
    """Why a token does not hold."""


class UnknownKeyError(TokenError):
    """No key of that name is held: there may be a new one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """audiences, issuers: one of them has to be named, where there are any. claim: which one has the patterns of dashboards."""

    audiences: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()
    claim: str = "dashboards"
    leeway_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Pass:
    """What somebody may see, and until when: epoch seconds, with the leeway. subject: whose it is, for limits and logs."""

    subject: str
    patterns: tuple[str, ...]
    ends_at: float

    def sees(self, dashboard: str) -> bool:
        return any_matches(self.patterns, dashboard)


EVERYTHING: Final = Pass("", ("*",), math.inf)
"""Where nobody is asked for a token."""


def carried(headers: Headers, cookie: str = "", *, cookies_count: bool = True) -> str:
    """The token of a request, empty where there is none. What was put there on purpose goes before the cookie, which browsers add by themselves."""
    for line in headers.get("authorization", ()):
        scheme, _, rest = line.partition(" ")
        if scheme.lower() == "bearer":
            return rest.strip()
    for line in headers.get("sec-websocket-protocol", ()):
        for word in line.split(","):
            if word.strip().startswith(SUBPROTOCOL_PREFIX):
                return _unwrapped(word.strip().removeprefix(SUBPROTOCOL_PREFIX))
    if cookie and cookies_count:
        return _cookie(headers, cookie)
    return ""


def verify(token: str, keys: KeySet, rules: Rules, now: float) -> Pass:
    """What the bearer may see. TokenError: it does not hold; UnknownKeyError: its key is not known here."""
    if len(token) > LONGEST:
        raise TokenError(f"the token has more than {LONGEST} characters")
    try:
        header = _JWS.get_unverified_header(token)
    except (PyJWTError, ValueError, RecursionError):
        raise TokenError("the token is no JWT") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    candidates = keys.candidates(kid)
    if not candidates:
        raise UnknownKeyError("the token names a key that is not known here" if kid else "there are no keys yet")
    suitable = [key for key in candidates if algorithm in key.algorithms]
    if not suitable:
        raise TokenError("the token's algorithm is not one that its key may be used with")
    return _pass(_payload(token, suitable[:_MOST_TRIED], str(algorithm)), rules, now)


def redacted(text: str) -> str:
    """Without what looks like a token: whoever mistakes the place where one belongs shall not find it in a log."""
    return _LOOKS_LIKE_ONE.sub("(token)", text)


def _payload(token: str, keys: Sequence[Key], algorithm: str) -> dict[str, Any]:
    for key in keys:
        try:
            signed: bytes = _JWS.decode_complete(token, key.material, algorithms=[algorithm])["payload"]
        except InvalidSignatureError:
            continue
        except (PyJWTError, ValueError, TypeError):
            raise TokenError("the token cannot be verified") from None
        try:
            claims = msgspec.json.decode(signed)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise TokenError("the token's claims are no JSON object")
        return claims
    raise TokenError("the token's signature does not verify")


def _pass(claims: dict[str, Any], rules: Rules, now: float) -> Pass:
    ends = _time(claims, "exp")
    if ends is None:
        raise TokenError("the token has no exp: one that never ends is not taken")
    if now >= ends + rules.leeway_s:
        raise TokenError("the token has ended")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and now < begins - rules.leeway_s:
            raise TokenError(f"the token does not hold yet ({name})")
    _check_audience(claims.get("aud"), rules.audiences)
    issuer = claims.get("iss")
    if rules.issuers and issuer not in rules.issuers:
        raise TokenError("the token's issuer (iss) is not one that is trusted here")
    subject = claims.get("sub", "")
    if not isinstance(subject, str):
        raise TokenError("the token's subject (sub) is no text")
    return Pass(subject, _patterns(_claim(claims, rules.claim)), ends + rules.leeway_s)


def _check_audience(audience: Any, ours: Sequence[str]) -> None:
    """RFC 7519 4.1.3: who is not among those that are named "MUST" reject the token, also where no audience is configured."""
    named = [audience] if isinstance(audience, str) else audience or []
    if not isinstance(named, list) or ((ours or named) and not any(name in ours for name in named)):
        raise TokenError("the token is not meant for here (aud)")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        raise TokenError(f"the token's {name} is no time")
    return float(value)


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """By its name; where there is none of that name, dots lead into objects."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _patterns(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text with spaces between, as OAuth's scope is written. Nothing: sees nothing."""
    if isinstance(value, str):
        value = value.split()
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TokenError("the token's claim of dashboards is no list of texts")
    return tuple(value[:_MOST_PATTERNS])


def _unwrapped(word: str) -> str:
    """A JWT as it is, or as base64url, for clients that wrap whatever token they have."""
    if "." in word:
        return word
    try:
        return base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return word


def _cookie(headers: Headers, name: str) -> str:
    """RFC 6265 4.2.1. Of two with one name the first counts: browsers send the one with the longer path first."""
    for line in headers.get("cookie", ()):
        for pair in line.split(";"):
            key, equals, value = pair.strip().partition("=")
            if equals and key == name:
                return value.strip('"')
    return ""
