"""The pure cores of the gateway under any bytes, in this process: what must hold whatever comes in."""

import base64
import hmac
from collections.abc import Iterable
from random import Random
from typing import Final

import httptools

from services.contract.live import MAX_CLIENT_MESSAGE_BYTES, LiveError, decode_client
from services.gateway import handshake
from services.gateway.access.door import DeniedError, Door
from services.gateway.access.keys import KeySet, from_secret
from services.gateway.access.tokens import Rules, TokenError, verify
from services.gateway.conversation import Action, Conversation, End, Send, Text
from services.gateway.deflate import ExtensionsError, negotiate
from services.gateway.settings import AccessSettings, LimitSettings
from tests.conformance.talk import DEFLATE
from tests.fuzz.mutation import pieces
from tests.tokens import SECRET

_PROXIES: Final = ("127.0.0.0/8", "::1/128")
_DOORS: Final = [
    Door(AccessSettings(), LimitSettings(trusted_proxies=_PROXIES, forwarded=header), origins)
    for header in ("x-forwarded-for", "forwarded") for origins in ((), ("*.example", "*"), ("https://127.0.0.1",))
]  # fmt: skip
_ANSWERS: Final = ("", DEFLATE, f"{DEFLATE}; server_max_window_bits=12")


def frames(data: bytes, chance: Random) -> None:
    """Whatever is said, and however it is cut: the same is heard, nothing but what may be sent is sent, and nothing after the end."""
    deflated = chance.random() < 0.6
    whole, cut = _heard([data], deflated), _heard(pieces(chance, data), deflated)
    assert _comparable(whole) == _comparable(cut), (whole, cut)
    for at, action in enumerate(whole):
        match action:
            case Text(payload):
                payload.decode()
                assert len(payload) <= MAX_CLIENT_MESSAGE_BYTES
            case Send(answer):
                assert answer[0] in (0x88, 0x8A)
                assert answer[1] == len(answer) - 2 <= 125
            case End():
                assert at == len(whole) - 1


def _heard(parts: Iterable[bytes], deflated: bool) -> list[Action]:
    conversation = Conversation(MAX_CLIENT_MESSAGE_BYTES, deflated)
    return [action for part in parts for action in conversation.receive(part)]


def _comparable(actions: list[Action]) -> list[object]:
    """Too much and not deflated may be both true of a message; which is seen first depends on where it is cut."""
    codes = {1007: "not for us", 1009: "not for us"}
    return [
        codes.get(action.code, action.code) if isinstance(action, End)
        else "close" if isinstance(action, Send) and action.data[0] == 0x88
        else action
        for action in actions
    ]  # fmt: skip


def messages(data: bytes, _: Random) -> None:
    """Any bytes are a message of the protocol, or an error that says why not."""
    try:
        decode_client(data)
    except LiveError as error:
        assert str(error)


def extensions(data: bytes, _: Random) -> None:
    """Any header is answered as one of those that there are, or malformed."""
    try:
        assert negotiate(data.decode("latin-1").split("\n")) in _ANSWERS
    except ExtensionsError as error:
        assert str(error)


def openings(data: bytes, chance: Random) -> None:
    """Any request that a parser of HTTP lets through is accepted or refused, and the answer is one of HTTP that nobody else has written."""
    read = _Request()
    parser = httptools.HttpRequestParser(read)
    try:
        for piece in pieces(chance, data):
            parser.feed_data(piece)
        return
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return
    request = handshake.parse(read.again(parser.get_method()))
    door = chance.choice(_DOORS)
    try:
        answer = handshake.accept(request, ("tideboard.v1.json",)).answer
        door.address(request.headers, "127.0.0.1")
        door.identify(request.headers, request.query, door.origin(request.headers))
    except handshake.RefusedError as refused:
        answer = refused.answer()
        assert refused.status in (400, 405, 426)
    except DeniedError as denied:
        answer = handshake.RefusedError(denied.status, denied.reason, denied.headers).answer()
        assert denied.status in (401, 403)
    head, _, _ = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first.startswith(b"HTTP/1.1 ")
    assert all(name.decode() in _NAMES for name, _, _ in (line.partition(b": ") for line in lines))


def tokens(data: bytes, chance: Random) -> None:
    """Any token holds or does not, and so does one of any claims that was signed with the right key."""
    head, _, claims = data.partition(b"\n")
    signed = b".".join(map(_base64, (head, claims)))
    signature = hmac.digest(SECRET, signed, "sha256") if chance.random() < 0.9 else chance.randbytes(32)
    for token in (data.decode("latin-1"), (signed + b"." + _base64(signature)).decode()):
        try:
            found = verify(token, _KEYS, Rules(), NOW)
        except TokenError as error:
            assert len(token) < 20 or token not in str(error)
        else:
            assert all(isinstance(pattern, str) for pattern in found.patterns)


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


NOW: Final = 1_795_385_020.0
_KEYS: Final = KeySet((from_secret(SECRET),))
_NAMES: Final = {
    "Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Version", "Allow",
    "Content-Type", "Content-Length", "Retry-After", "WWW-Authenticate",
}  # fmt: skip


class _Request:
    """What httptools has parsed, put together as uvicorn does for its WebSocket class."""

    def __init__(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def again(self, method: bytes) -> bytes:
        lines = [method + b" " + self._url + b" HTTP/1.1", *(name + b": " + value for name, value in self._headers), b"", b""]
        return b"\r\n".join(lines)
