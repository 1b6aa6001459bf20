"""The keys of a gateway, kept up to date: read at the start, again after a while, and when a token names one that is not known.

A source that cannot be read keeps the keys that it had: who signs may be away for hours while those who hold tokens watch on.
A file that cannot be read at the start ends the start, for a person has named it; an address may come later, and until then
nobody gets in. What a key is good for is `keys`.
"""

import asyncio
import contextlib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from services.gateway.access.keys import KeySet, UnusableKeyError, described, from_file, from_jwks, from_secret
from services.gateway.settings import AccessSettings
from services.runtime.service import StartupError
from services.transport.tls import trusting

log = structlog.get_logger()

AGAIN_S: Final = 5.0
"""Between two readings that tokens with an unknown key ask for: anybody can make up a key's name."""
FETCH_S: Final = 5.0
MAX_BYTES: Final = 1024 * 1024
FIRST_RETRY_S: Final = 1.0
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(slots=True)
class Source:
    """Where keys come from. read: blocks; OSError or UnusableKeyError where it fails. needed: whether there is no start without it."""

    name: str
    read: Callable[[], KeySet]
    needed: bool
    keys: KeySet = field(default_factory=KeySet)
    fault: str = ""


class Schedule:
    """When to read next. Pure; seconds of a clock that only grows."""

    def __init__(self, every_s: float, again_s: float) -> None:
        self._every_s = every_s
        self._again_s = again_s
        self._failures = 0
        self._read_at = -float("inf")
        self.due_at = 0.0

    def read(self, now: float, *, failed: bool) -> None:
        self._read_at = now
        self._failures = self._failures + 1 if failed else 0
        retry = FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 16)
        self.due_at = now + (min(retry, self._every_s) if failed else self._every_s)

    def grants(self, now: float) -> bool:
        """Whether an unknown key is a reason to read now."""
        return now - self._read_at >= self._again_s


class Keyring:
    def __init__(self, settings: AccessSettings, again_s: float = AGAIN_S, clock: Callable[[], float] = time.monotonic) -> None:
        """StartupError where the settings name no keys, or what cannot be one."""
        self._sources = list(_sources(settings))
        if not self._sources:
            raise StartupError(
                "TIDEBOARD_GATEWAY_AUTH=jwt needs keys: TIDEBOARD_GATEWAY_KEY_FILE, TIDEBOARD_GATEWAY_SECRET_FILE or "
                "TIDEBOARD_GATEWAY_JWKS names them, or TIDEBOARD_GATEWAY_AUTH=off asks nobody for a token"
            )
        self._algorithms = settings.algorithms
        self._schedule = Schedule(settings.refresh_s, again_s)
        self._clock = clock
        self._wanted = asyncio.Event()
        self._renewed: asyncio.Future[None] | None = None
        self._started = False
        self.keys = KeySet()

    async def start(self) -> None:
        """Read everything once. StartupError where a file cannot be used."""
        await self._read()
        self._started = True
        for source in self._sources:
            if source.needed and source.fault:
                raise StartupError(f"{source.name} cannot be used: {source.fault}")
        if not self.away and not self.keys:
            raise StartupError(f"no key may be used with TIDEBOARD_GATEWAY_ALGORITHMS={','.join(self._algorithms)}")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._schedule.due_at - self._clock())):
                    await self._wanted.wait()
            self._wanted.clear()
            await self._read()

    def renewed(self) -> "asyncio.Future[None] | None":
        """When keys have been read again because one was not known; None where that was done a moment ago."""
        if self._renewed is None and self._schedule.grants(self._clock()):
            self._renewed = asyncio.get_running_loop().create_future()
            self._wanted.set()
        return self._renewed

    @property
    def away(self) -> str:
        """What could not be read last, empty where all could."""
        return "; ".join(f"{source.name}: {source.fault}" for source in self._sources if source.fault)

    def status(self) -> dict[str, Any]:
        """For a person."""
        return {"keys": list(described(self.keys)), "away": self.away or None}

    async def _read(self) -> None:
        await asyncio.gather(*(self._read_one(source) for source in self._sources))
        found = KeySet()
        for source in self._sources:
            found |= source.keys
        found = found.only(self._algorithms)
        if list(described(found)) != list(described(self.keys)):
            log.info("keys for tokens", keys=list(described(found)))
        self.keys = found
        self._schedule.read(self._clock(), failed=bool(self.away))
        if waiting := self._renewed:
            self._renewed = None
            waiting.set_result(None)

    async def _read_one(self, source: Source) -> None:
        try:
            source.keys = await asyncio.to_thread(source.read)
        except (OSError, HTTPException, ValueError) as error:
            fault = str(error) or type(error).__name__
            if fault != source.fault and (self._started or not source.needed):
                log.warning("keys cannot be read", source=source.name, reason=fault, held=len(source.keys))
            source.fault = fault
        else:
            source.fault = ""


def _sources(settings: AccessSettings) -> Sequence[Source]:
    found = []
    if settings.key_file:
        found.append(Source(f"the key file {settings.key_file}", _reading(settings.key_file, from_file), True))
    if settings.secret_file:
        secret = _reading(settings.secret_file, lambda data: KeySet((from_secret(data),)))
        found.append(Source(f"the secret file {settings.secret_file}", secret, True))
    if settings.jwks:
        if "://" in settings.jwks:
            _safe(settings.jwks)
            found.append(Source(f"the key set {_shown(settings.jwks)}", _fetching(settings.jwks, settings.jwks_ca_file), False))
        else:
            found.append(Source(f"the key set {settings.jwks}", _reading(settings.jwks, from_file), True))
    return found


def _safe(url: str) -> None:
    """StartupError for an address where somebody on the way could give keys of their own."""
    try:
        split = urlsplit(url)
    except ValueError as error:
        raise StartupError(f"TIDEBOARD_GATEWAY_JWKS is no address: {error}") from None
    if split.scheme != "https" and (split.scheme, split.hostname in LOOPBACK) != ("http", True):
        raise StartupError(
            f"TIDEBOARD_GATEWAY_JWKS is {_shown(url)}: it is to be a file, or an address that begins with https://, as who answers for it "
            f"decides who gets in; http:// only of {', '.join(LOOPBACK)}"
        )


def _reading(path: str, parse: Callable[[bytes], KeySet]) -> Callable[[], KeySet]:
    def read() -> KeySet:
        try:
            return parse(Path(path).read_bytes())
        except OSError as error:
            raise OSError((error.strerror or str(error)).lower()) from None

    return read


def _fetching(url: str, ca_file: str) -> Callable[[], KeySet]:
    """Whoever answers for this address decides who gets in: it is asked directly, and may not send us elsewhere."""
    try:
        context = trusting(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"TIDEBOARD_GATEWAY_JWKS_CA_FILE={ca_file} cannot be used: {error}") from None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirects()
    )
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})  # noqa: S310, http and https only

    def read() -> KeySet:
        try:
            with opener.open(request, timeout=FETCH_S) as answer:
                data = _whole(answer.read1, time.monotonic() + FETCH_S)
        except urllib.error.HTTPError as error:
            error.close()
            raise OSError(f"it answers {error.code}") from None
        except urllib.error.URLError as error:
            raise OSError(str(error.reason)) from None
        return from_jwks(data)

    return read


def _whole(read: Callable[[int], bytes], until: float) -> bytes:
    data = b""
    while part := read(65_536):
        data += part
        if len(data) > MAX_BYTES:
            raise UnusableKeyError(f"it has more than {MAX_BYTES:,} bytes")
        if time.monotonic() > until:
            raise OSError("it takes too long")
    return data


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _shown(url: str) -> str:
    """Without a user and a query, which may be secret."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc.rpartition('@')[2]}{split.path}"
