"""The live protocol: messages on the WebSocket /api/v1/live, subprotocol tideboard.v1.json, and close codes.

docs/protocol.md is the specification; tests/golden holds one example of each message, read by pytest and vitest.
"""

from enum import IntEnum
from typing import Final, Literal

import msgspec

from services.contract.dashboards import Threshold
from services.contract.history import NO_NOTES, Cells, NewGroup, Notes
from services.contract.layout import Grid

SUBPROTOCOL: Final = "tideboard.v1.json"
VERSION: Final = 1
MAX_CLIENT_MESSAGE_BYTES: Final = 8_192
SILENCE_MS: Final = 3_000
"""A client that has heard nothing for so long shows itself stale and reconnects. The server sends at least once a second."""


class CloseCode(IntEnum):
    """4000 to 4499: come back, after `retry_in_ms` when the reason names it. 4500 to 4999: do not come back by yourself."""

    going_away = 4000
    too_slow = 4001
    no_pong = 4002
    overloaded = 4003  # no gateway says it: one that has no room refuses the handshake
    token_ended = 4004
    too_many_messages = 4005
    bad_message = 4500
    no_subprotocol = 4501
    forbidden = 4502


ErrorCode = Literal["unknown_dashboard", "broken_dashboard", "forbidden", "bad_token", "bad_message"]
"""What an `error` on a socket or an event stream may say."""

HttpErrorCode = Literal[
    "bad_parameter",
    "broken_dashboard",
    "failed",
    "forbidden",
    "internal",
    "method_not_allowed",
    "not_found",
    "unauthorized",
    "unavailable",
    "unknown_dashboard",
    "upgrade_required",
]
"""What `{"error": ...}` of the gateway's HTTP may say."""


# From the client.


class Since(msgspec.Struct, frozen=True):
    """What a client last applied of a dashboard."""

    epoch: str
    versions: dict[str, int]


class Subscribe(msgspec.Struct, frozen=True, tag_field="type", tag="subscribe"):
    dashboard: str
    hz: float = 10
    since: Since | None = None


class Unsubscribe(msgspec.Struct, frozen=True, tag_field="type", tag="unsubscribe"):
    dashboard: str


class Rate(msgspec.Struct, frozen=True, tag_field="type", tag="rate"):
    hz: float


class Token(msgspec.Struct, frozen=True, tag_field="type", tag="token"):
    """Another token instead of the one that the socket was opened with, before that one ends."""

    token: str

    def __repr__(self) -> str:
        return "Token(...)"  # whatever is told about a message, this is not


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    pass


ClientMessage = Subscribe | Unsubscribe | Rate | Token | Ping


# From the server.


class LineInfo(msgspec.Struct, frozen=True):
    """What a panel draws: view is an index into the snapshot's views."""

    query: str
    fn: str
    view: int


class PanelInfo(msgspec.Struct, frozen=True):
    """A panel with everything that drawing it needs. window: ms."""

    id: str
    title: str
    type: str
    unit: str
    window: int
    grid: Grid
    thresholds: tuple[Threshold, ...]
    min: float | None
    max: float | None
    decimals: int | None
    legend: str | None
    description: str
    lines: list[LineInfo]


class ViewState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A view whole. every, window: ms. additive: its open bucket is still growing. groups: labels by number (numbers may skip).

    notes: what is to be known beside the values, missing where there is nothing.
    """

    id: str
    every: int
    window: int
    additive: bool
    closed: int
    groups: list[NewGroup]
    cells: list[Cells]
    notes: Notes = NO_NOTES


class Snapshot(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot"):
    v: int
    dashboard: str
    epoch: str
    now: int
    hz: float
    title: str
    window: int
    versions: dict[str, int]
    views: list[ViewState]
    panels: list[PanelInfo]


class ViewDelta(msgspec.Struct, frozen=True, array_like=True):
    """What changed in one view. view: its index in the snapshot; applies where from <= the version that the client has."""

    view: int
    from_: int
    to: int
    closed: int
    groups: list[NewGroup]
    cells: list[Cells]


class ViewNotes(msgspec.Struct, frozen=True, array_like=True):
    """The notes of one view, instead of those before. view: its index in the snapshot."""

    view: int
    notes: Notes


class Delta(msgspec.Struct, frozen=True, tag_field="type", tag="delta", omit_defaults=True):
    """An empty `views` is a sign of life. notes: of views of which they changed."""

    dashboard: str
    epoch: str
    now: int
    views: list[ViewDelta]
    notes: list[ViewNotes] = []


class Part(msgspec.Struct, frozen=True):
    """A part of the pipeline that is away. part: feed, aggregator, log or samples; since: epoch ms; reason: a sentence."""

    part: str
    since: int
    reason: str


class Status(msgspec.Struct, frozen=True, tag_field="type", tag="status", omit_defaults=True):
    """How fresh a dashboard is. stale: something is away; age_ms: since when, 0 where nothing is.

    hz: frames a second that are sent at most. limit: why that is less than was asked for: "reader", as this client does not
    read fast enough, or "gateway", as the gateway has too much to do. panels: how old the newest value of each panel is, ms,
    of those that have one, while something is away.
    """

    dashboard: str
    now: int
    stale: bool
    age_ms: int
    parts: list[Part]
    hz: float = 0
    limit: str = ""
    panels: dict[str, int] = {}


class Moved(msgspec.Struct, frozen=True, tag_field="type", tag="moved"):
    retry_in_ms: int


class Error(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """code: unknown_dashboard or broken_dashboard: the subscription stays, and a snapshot follows when the dashboard is there.

    forbidden: the token does not name this dashboard, and nothing follows. bad_token, bad_message: what was sent does not count.
    """

    dashboard: str
    code: ErrorCode
    reason: str
    path: str = ""
    line: int = 0
    source: str = ""


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    now: int


class TokenEnds(msgspec.Struct, frozen=True, tag_field="type", tag="token"):
    """The token that counts on this socket, and until when. now, ends: epoch ms."""

    now: int
    ends: int


ServerMessage = Snapshot | Delta | Status | Moved | Error | Pong | TokenEnds


class LiveError(ValueError):
    """A client's message that is not one; the text says what was wrong."""


_CLIENT: Final[msgspec.json.Decoder[ClientMessage]] = msgspec.json.Decoder(ClientMessage)
_SERVER: Final[msgspec.json.Decoder[ServerMessage]] = msgspec.json.Decoder(ServerMessage)


def decode_client(data: bytes | str) -> ClientMessage:
    try:
        return _CLIENT.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LiveError(str(error)) from None
    except RecursionError:
        raise LiveError("JSON is nested too deeply") from None


def decode_server(data: bytes | str) -> ServerMessage:
    try:
        return _SERVER.decode(data)
    except msgspec.DecodeError as error:
        raise LiveError(str(error)) from None


def encode(message: ServerMessage | ClientMessage) -> bytes:
    """The JSON of a message, UTF-8. NaN becomes null."""
    return msgspec.json.encode(message)
