"""One message on its way to any number of viewers: written as JSON once, and framed once for each encoding that somebody reads."""

from services.contract import live
from services.contract.live import ServerMessage
from services.gateway.frames import encode_text


class Outgoing:
    """kind: as metrics name it. payload: JSON, UTF-8."""

    __slots__ = ("_text", "kind", "payload")

    def __init__(self, kind: str, payload: bytes) -> None:
        self.kind = kind
        self.payload = payload
        self._text = b""

    def __len__(self) -> int:
        """Bytes of the payload."""
        return len(self.payload)

    @property
    def text(self) -> bytes:
        """As a WebSocket's text frame."""
        self._text = self._text or encode_text(self.payload)
        return self._text


def outgoing(message: ServerMessage) -> Outgoing:
    return Outgoing(type(message).__name__.lower(), live.encode(message))
