"""Traffic that is nearly right, made up field by field: frames, opening requests, extensions, requests of HTTP, messages.

Mutation alone would rarely get past a checksum of sorts: masks, lengths and compressed data have to fit together for what is
behind them to be reached.
"""

import struct
import zlib
from random import Random
from typing import Final

from tests.conformance.peer import HEAD

_WORDS: Final = ("", "small", "large", "host", "κόσμε", "😀", "a" * 63, "a" * 64, "%00", "../..", "\x00", '"', "\ufeff")
_MASKS: Final = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x12\x34\x56\x78")
_TYPES: Final = ("subscribe", "unsubscribe", "rate", "ping", "token", "snapshot", "", "SUBSCRIBE")
_NUMBERS: Final = (
    "0",
    "-0",
    "1",
    "10",
    "20",
    "0.5",
    "-1",
    "1e308",
    "1e999",
    "NaN",
    "null",
    "true",
    '"10"',
    "[]",
    "9" * 40,
    "0.1e-400",
)
_CODES: Final = (0, 999, 1000, 1001, 1005, 1006, 1015, 1016, 3000, 4000, 4999, 5000, 65_535)
_PATHS: Final = (
    "/", "/api/v1/dashboards", "/api/v1/dashboards/small", "/api/v1/dashboards/none", "/api/v1/dashboards/large/snapshot",
    "/api/v1/dashboards/small/snapshot", "/api/v1/live", "/api/v1/plotly", "/api/v1/dashboards/small/events", "/d/small",
    "/plotly/small", "/assets/none.js", "/favicon.svg", "/api/", "//", "/%2e%2e/etc/passwd", "/..", "/\u00e9", "*", "", "http://x/",
)  # fmt: skip
_QUERY: Final = ("from", "to", "step", "panel", "format", "dashboard", "max_points", "hz", "since", "x")
_VALUES: Final = (
    "", "0", "-1", "1", "200", "10001", "9" * 30, "now", "now-1h", "1h", "1s", "50ms", "1e3", "NaN", "csv", "json", "rx", "small", "large", "%00",
    "%ff", "2026-11-29T00:00:00Z", "2026-13-40", "a=b", "é",
)  # fmt: skip
_HEADERS: Final = {
    "accept": ("text/csv", "application/json", "*/*", "text/event-stream", "text/html", "q=;,", "a/b;q=9"),
    "accept-encoding": ("gzip", "gzip;q=0", "br, gzip;q=0.5", "*", ";;", "gzip;q=x"),
    "if-none-match": ('"x"', "*", 'W/"x", "y"', '"'),
    "range": ("bytes=0-1", "bytes=-1", "bytes=9-1", "x"),
    "last-event-id": ("x", "1", '{"epoch":"e","versions":{}}', "\xff"),
    "origin": ("http://127.0.0.1", "null", "https://evil.example", "http://[", "//", "file://", "http://127.0.0.1:x"),
    "cookie": ("a=b", "tideboard_token=x", "=;=;", ";"),
    "authorization": ("Bearer x", "Bearer a.b.c", "Basic eA==", "bearer", ""),
    "x-forwarded-for": ("1.2.3.4", "x", "1.2.3.4, ::1", ",", "[::1]:80"),
    "forwarded": ("for=1.2.3.4", 'for="[::1]:80"', "for=", ";", "for=_x;proto=https"),
    "connection": ("close", "keep-alive", "upgrade, close"),
    "content-length": ("0", "5", "-1", "99999999999999999999", "x"),
    "transfer-encoding": ("chunked", "gzip, chunked", "identity"),
    "expect": ("100-continue", "x"),
}
_ALGORITHMS: Final = ('"HS256"', '"HS256"', '"HS256"', '"HS512"', '"none"', '"RS256"', '["HS256"]', "{}", "null", '""')
_ANYTHING: Final = (
    *_NUMBERS,
    '"x"',
    '""',
    '["a","b*"]',
    '[["a"]]',
    "{}",
    '{"a":{}}',
    '"\\ud800"',
    "[" * 1_500,
    '"*"',
    "1795390000",
    '"1795390000"',
)
_PARAMETERS: Final = (
    "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits", "mux", "",
)  # fmt: skip
_BITS: Final = (
    "",
    "=8",
    "=9",
    "=11",
    "=12",
    "=15",
    "=16",
    '="12"',
    '="1\\5"',
    '="',
    "=",
    "=012",
    "=-1",
    '=""',
    "=a b",
    '="a,b;c"',
)


def message(chance: Random) -> bytes:
    """Of the live protocol, nearly."""
    fields = [f'"type":"{chance.choice(_TYPES)}"']
    if chance.random() < 0.8:
        fields.append(f'"dashboard":"{chance.choice(_WORDS)}"')
    if chance.random() < 0.4:
        fields.append(f'"hz":{chance.choice(_NUMBERS)}')
    if chance.random() < 0.3:
        epoch, version = chance.choice(_WORDS), chance.choice(_NUMBERS)
        fields.append(f'"since":{{"epoch":"{epoch}","versions":{{"{chance.choice(_WORDS)}":{version}}}}}')
    if chance.random() < 0.2:
        fields.append('"pad":' + "[" * chance.choice((1, 10, 2_000)) + '"*"')
    chance.shuffle(fields)
    return ("{" + ",".join(fields) + "}").encode()


def frames(chance: Random) -> bytes:
    """What a client says on a WebSocket: a few frames."""
    return b"".join(_said(chance) for _ in range(chance.randrange(1, 5)))


def _said(chance: Random) -> bytes:
    kind = chance.random()
    if kind < 0.45:
        return _message(chance)
    if kind < 0.7:
        return _frame(chance, chance.choice((9, 9, 10)), chance.randbytes(chance.choice((0, 0, 1, 4, 125, 126))))
    if kind < 0.8:
        reason = chance.choice((b"", b"bye", b"\xff", b"*" * 123, b"\xe2\x82"))
        return _frame(chance, 8, chance.choice((b"", b"\x03", struct.pack("!H", chance.choice(_CODES)) + reason)))
    return _frame(chance, chance.randrange(16), chance.randbytes(chance.choice((0, 1, 10, 126))), chance.random() < 0.7)


def _message(chance: Random) -> bytes:
    """A text, perhaps compressed, perhaps in fragments with a ping between them."""
    payload = chance.choice(
        (message(chance), message(chance), chance.randbytes(20), b"x" * chance.choice((0, 125, 126, 8_192, 8_193)))
    )
    rsv1 = chance.random() < 0.4
    if rsv1:
        payload = _packed(chance, payload if chance.random() < 0.9 else bytes(1 << 16))
    parts = [payload]
    if chance.random() < 0.4:
        size = chance.choice((1, 3, 50, 4_000))
        parts = [payload[at : at + size] for at in range(0, min(len(payload), size * 40), size)] or [b""]
    said = b""
    for number, part in enumerate(parts):
        first = number == 0
        said += _frame(chance, 1 if first else 0, part, number == len(parts) - 1, 4 if rsv1 and first else 0)
        if chance.random() < 0.1:
            said += _frame(chance, 9, b"between")
    return said


def _packed(chance: Random, payload: bytes) -> bytes:
    packer = zlib.compressobj(chance.choice((0, 1, 6, 9)), zlib.DEFLATED, -chance.choice((9, 12, 15)))
    flush = chance.choice((zlib.Z_SYNC_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH))
    data = packer.compress(payload) + packer.flush(flush)
    return data if flush == zlib.Z_FINISH or chance.random() < 0.1 else data[:-4]


def _frame(chance: Random, opcode: int, payload: bytes, fin: bool = True, rsv: int = 0) -> bytes:
    size, luck = len(payload), chance.random()
    first = (0x80 if fin else 0) | (rsv if luck > 0.02 else chance.randrange(8)) << 4 | opcode
    flag = 0x80 if luck < 0.99 else 0
    if luck > 0.97:  # a length that is not minimal, or not true
        head = struct.pack("!BBQ", first, flag | 127, chance.choice((size, 1 << 63, 1 << 20)))
    elif size <= 125:
        head = bytes((first, flag | size))
    else:
        head = struct.pack("!BBH", first, flag | 126, size) if size <= 0xFFFF else struct.pack("!BBQ", first, flag | 127, size)
    mask = chance.choice(_MASKS)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def extensions(chance: Random) -> str:
    """The value of Sec-WebSocket-Extensions."""
    found = []
    for _ in range(chance.randrange(1, 4)):
        words = [chance.choice(("permessage-deflate", "permessage-deflate", "x-other", "", '"'))]
        words += [chance.choice(_PARAMETERS) + chance.choice(_BITS) for _ in range(chance.randrange(5))]
        found.append(chance.choice(("; ", ";", " ;\t")).join(words))
    return chance.choice((", ", ",", ",,")).join(found)


def token(chance: Random) -> bytes:
    """The head and the claims of a JSON Web Token, a line each."""
    heads = [
        f'"alg":{chance.choice(_ALGORITHMS)}',
        '"typ":"JWT"',
        f'"kid":{chance.choice(_ANYTHING)}',
        f'"crit":{chance.choice(_ANYTHING)}',
    ]
    named = ("sub", "exp", "iat", "nbf", "aud", "iss", "dashboards")
    claims = [f'"{name}":{chance.choice(_ANYTHING)}' for name in named if chance.random() < 0.4]
    claims += ['"exp":1795390000', f'"dashboards":{chance.choice(_ANYTHING)}'] if chance.random() < 0.7 else []
    head = heads[: chance.choice((1, 1, 2, 3, 4))]
    return ("{" + ",".join(head) + "}\n{" + ",".join(claims) + "}").encode()


def opening(chance: Random) -> bytes:
    """A request for a WebSocket."""
    fields = list(HEAD.items())
    if chance.random() < 0.7:
        fields.append(("Sec-WebSocket-Extensions", extensions(chance)))
    for _ in range(chance.choice((0, 0, 1, 2))):
        name, values = chance.choice(list(_HEADERS.items()))
        fields.append((name, chance.choice(values)))
    if chance.random() < 0.3:
        at = chance.randrange(len(fields))
        fields[at] = fields[at][0], chance.choice(("", "13", "x", fields[at][1] * 2, "tideboard.token.x, tideboard.v1.json"))
    if chance.random() < 0.2:
        fields.append(chance.choice(fields))
    if chance.random() < 0.2:
        fields.pop(chance.randrange(len(fields)))
    method = "GET" if chance.random() < 0.95 else chance.choice(("POST", "HEAD", "CONNECT", "PRI", "get"))
    path = chance.choice(("/api/v1/live", "/api/v1/live", f"/api/v1/plotly?{_query(chance)}", _path(chance)))
    return _request(method, path, fields)


def request(chance: Random) -> bytes:
    """A request of HTTP, or some of them that do not wait for their answers."""
    return b"".join(_asked(chance) for _ in range(chance.choice((1, 1, 1, 2, 3))))


def _asked(chance: Random) -> bytes:
    fields = [("Host", "127.0.0.1")]
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        name, values = chance.choice(list(_HEADERS.items()))
        fields.append((name, chance.choice(values)))
    method = "GET" if chance.random() < 0.9 else chance.choice(("POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "X"))
    return _request(method, _path(chance), fields) + (b"hello" if chance.random() < 0.1 else b"")


def _path(chance: Random) -> str:
    path = chance.choice(_PATHS)
    return f"{path}?{_query(chance)}" if chance.random() < 0.5 else path


def _query(chance: Random) -> str:
    return "&".join(f"{chance.choice(_QUERY)}={chance.choice(_VALUES)}" for _ in range(chance.randrange(5)))


def _request(method: str, path: str, fields: list[tuple[str, str]]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("utf-8", "replace")
