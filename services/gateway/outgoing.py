"""One message on its way to any number of viewers: written as JSON once, and framed once for each encoding that somebody reads."""

from services.contract import live
from services.contract.live import ServerMessage
from services.gateway.content import NOTHING, Content
from services.gateway.dashboard import Mark
from services.gateway.frames import encode_text


class Outgoing:
    """kind: as metrics name it. payload: JSON, UTF-8. mark: what its reader has then, None where it does not say.
    content: what there is to count of it.

    plain, deflated: its frames, empty before somebody has asked for them.
    """

    __slots__ = ("content", "deflated", "kind", "mark", "payload", "plain")

    def __init__(self, kind: str, payload: bytes, mark: Mark | None = None, content: Content = NOTHING) -> None:
        self.kind = kind
        self.payload = payload
        self.mark = mark
        self.content = content
        self.plain = self.deflated = b""

    def __len__(self) -> int:
        """Bytes of the payload."""
        return len(self.payload)

    def written(self, viewers: int, deflated: int) -> int:
        """Bytes of its frames for so many viewers, so many of whom read it compressed."""
        return (viewers - deflated) * len(self.plain or self.payload) + deflated * len(self.deflated or self.payload)

    def frame(self, deflated: bool) -> bytes:
        """As a WebSocket's text message. deflated: for those with whom permessage-deflate was agreed on."""
        if deflated:
            self.deflated = self.deflated or encode_text(self.payload, deflated=True)
            return self.deflated
        self.plain = self.plain or encode_text(self.payload)
        return self.plain


def outgoing(message: ServerMessage, mark: Mark | None = None, content: Content = NOTHING) -> Outgoing:
    return Outgoing(type(message).__name__.lower(), live.encode(message), mark, content)
