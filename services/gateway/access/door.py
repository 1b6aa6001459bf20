"""The door of a gateway: who asks, by which right, and whether there is room. One for HTTP and for WebSockets.

It knows requests by their headers only; what it refuses it says as an HTTP status, a code and a sentence, and whoever asked
writes that down in its own form. Nothing here repeats a token.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

import structlog

from services.contract.live import HttpErrorCode
from services.gateway.access import forwarded
from services.gateway.access.keyring import Keyring
from services.gateway.access.limits import Held, Rate, Rates
from services.gateway.access.origins import Origin, judge
from services.gateway.access.tokens import (
    EVERYTHING,
    Headers,
    Pass,
    Rules,
    TokenError,
    UnknownKeyError,
    carried,
    redacted,
    verify,
)
from services.gateway.settings import AccessSettings, LimitSettings
from services.runtime.logs import Collapse
from services.runtime.service import StartupError

log = structlog.get_logger()

_AT_ONCE_S: Final = 4.0  # of one address, and of one token: this many seconds' worth
_TOLD_EVERY_S: Final = 5.0
_EVERYBODY: Final = "everybody"


class DeniedError(Exception):
    """Why somebody is not let in. again: other keys may be there in a moment."""

    def __init__(
        self,
        status: HTTPStatus,
        code: HttpErrorCode,
        reason: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        again: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.headers = headers
        self.again = again


@dataclass(frozen=True, slots=True)
class Guest:
    """Who holds a connection. address: as it is counted."""

    address: str
    right: Pass


NOBODY: Final = Guest("", EVERYTHING)


class Door:
    """keyring: None where nobody is asked for a token. wall: epoch seconds; clock: monotonic ones. StartupError where settings cannot be used."""

    def __init__(
        self,
        access: AccessSettings | None = None,
        limits: LimitSettings | None = None,
        origins: Sequence[str] = (),
        keyring: Keyring | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        access, limits = access or AccessSettings(), limits or LimitSettings()
        self._access = access
        self._rules = Rules(access.audiences, access.issuers, access.claim, access.leeway_s)
        self._origins = origins
        self.keyring = keyring
        self.now = wall
        self._clock = clock
        self._forwarded = limits.forwarded
        try:
            self._trusted = forwarded.networks(limits.trusted_proxies)
        except ValueError as error:
            raise StartupError(f"TIDEBOARD_GATEWAY_TRUSTED_PROXIES: {error}") from None
        self._accepts = Rates(Rate(limits.accepts_per_s, limits.accepts_at_once))
        self._accepts_of_addresses = _one_by_one(limits.accepts_per_address_s)
        self._accepts_of_subjects = _one_by_one(limits.accepts_per_subject_s)
        self._addresses = Held(limits.per_address)
        self._subjects = Held(limits.per_subject)
        self.messages = Rate(limits.messages_per_s, limits.messages_at_once)
        self.dashboards = limits.dashboards
        self._told = Collapse(_TOLD_EVERY_S)

    @property
    def asks(self) -> bool:
        """Whether anybody is asked for a token."""
        return self.keyring is not None

    def origin(self, headers: Headers) -> Origin:
        return judge(headers.get("origin", ()), headers.get("host", ()), self._origins)

    def address(self, headers: Headers, peer: str) -> str:
        """Whose request it is, as it is counted."""
        if self._trusted:
            lines = headers.get(self._forwarded, ())
            read = forwarded.forwarded if self._forwarded == "forwarded" else forwarded.x_forwarded_for
            peer = forwarded.client_address(peer, read(lines), self._trusted)
        return forwarded.limit_key(peer)

    def identify(self, headers: Headers, query: str, origin: Origin) -> Pass:
        """By which right this is asked. DeniedError where by none."""
        if not origin.may_connect:
            page = headers["origin"][0][:200]
            raise DeniedError(HTTPStatus.FORBIDDEN, "forbidden", f"pages of {page} may not connect here")
        if self.keyring is None:
            return EVERYTHING
        token = carried(headers, self._access.cookie, cookies_count=origin.cookies_count) or self._in_query(query)
        if not token:
            raise _unauthorized("a token is needed here", "Bearer")
        found = self._verify(token)
        if not found.patterns:
            raise DeniedError(HTTPStatus.FORBIDDEN, "forbidden", "the token names no dashboard")
        return found

    def renew(self, token: str, before: Pass) -> Pass:
        """The right by another token, in place of the one before. DeniedError where it does not hold."""
        found = self._verify(token)
        if found.subject != before.subject:
            raise _unauthorized("the token is of another subject (sub)", "Bearer")
        return found

    def pass_by(self, address: str, right: Pass) -> None:
        """Let somebody in who goes with the answer: a request. Nothing is held. DeniedError where it comes too often."""
        self._take_turn(address, right, self._clock())

    def enter(self, address: str, right: Pass) -> Guest:
        """Let somebody in who stays: a socket, a stream. DeniedError where there is no room. To be given back by `leave`."""
        now = self._clock()
        self._take_turn(address, right, now)
        if self._addresses.full(address):
            raise _unavailable("this address has too many connections", 5)
        if right.subject and self._subjects.full(right.subject):
            raise _unavailable("this token's subject has too many connections", 5)
        _wait(self._accepts.take(_EVERYBODY, now), "too many connections at once")
        if right is EVERYTHING and not self._addresses.counts:
            return NOBODY  # nothing has to be remembered of anybody
        self._addresses.take(address)
        if right.subject:
            self._subjects.take(right.subject)
        return Guest(address, right)

    def leave(self, guest: Guest) -> None:
        self._addresses.give_back(guest.address)
        if guest.right.subject:
            self._subjects.give_back(guest.right.subject)

    def tell(self, denied: DeniedError, address: str, path: str) -> None:
        """Into the log, the same thing once in a while."""
        held = self._told.admit((denied.status, denied.reason), self._clock())
        if held is not None:
            more = {"repeated": held} if held else {}
            log.info(
                "not let in",
                status=denied.status.value,
                reason=denied.reason,
                address=address,
                path=redacted(path)[:200],
                **more,
            )

    def _take_turn(self, address: str, right: Pass, now: float) -> None:
        """Of the rates that one address and one token's subject have."""
        _wait(self._accepts_of_addresses.take(address, now), "too many requests of this address at once")
        if right.subject:
            # By its hash: what is remembered for a while of who has gone has the same size, however long a subject is.
            _wait(self._accepts_of_subjects.take(hash(right.subject), now), "too many requests of this token's subject at once")

    def _verify(self, token: str) -> Pass:
        keyring = self.keyring
        if keyring is None:
            return EVERYTHING
        try:
            return verify(token, keyring.keys, self._rules, self.now())
        except UnknownKeyError as error:
            if not keyring.keys:
                raise DeniedError(
                    HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error), [("Retry-After", "2")], again=True
                ) from None
            raise _unauthorized(str(error), 'Bearer error="invalid_token"', again=True) from None
        except TokenError as error:
            raise _unauthorized(str(error), 'Bearer error="invalid_token"') from None

    def _in_query(self, query: str) -> str:
        name = self._access.query
        return parse_qs(query).get(name, [""])[0] if name and query else ""


def gathered(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an ASGI scope."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1").strip())
    return found


def _one_by_one(per_s: float) -> Rates:
    """The same rate for each of many."""
    return Rates(Rate(per_s, per_s * _AT_ONCE_S))


def _wait(seconds: float, reason: str) -> None:
    if seconds:
        raise _unavailable(reason, max(1, round(seconds + 0.5)))


def _unavailable(reason: str, retry_s: int) -> DeniedError:
    return DeniedError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", reason, [("Retry-After", str(retry_s))])


def _unauthorized(reason: str, challenge: str, *, again: bool = False) -> DeniedError:
    return DeniedError(HTTPStatus.UNAUTHORIZED, "unauthorized", reason, [("WWW-Authenticate", challenge)], again=again)
