"""The built wall as files over HTTP: which file a path means, its gzip copy, how long it may be cached. Who asks what is in `app`.

Files are read once and read again when they have changed. Nothing outside the folder is ever opened.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

IMMUTABLE: Final = "public, max-age=31536000, immutable"
NO_CACHE: Final = "no-cache"
MIN_GZIP: Final = 512
_TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".map": "application/json",
                 ".webmanifest": "application/manifest+json", ".ico": "image/x-icon"}  # fmt: skip
_PACKED: Final = ("image/png", "image/jpeg", "image/webp", "font/woff2")

_NOT_BUILT: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tideboard: the wall is not built</title></head>
<body><h1>The wall is not built</h1>
<p>This gateway runs and serves data, but the folder with its pages is missing or empty:</p>
<p><code>{folder}</code></p>
<p>Run <code>make build</code>, or let <code>TIDEBOARD_GATEWAY_WALL</code> name the folder of a built wall, then load this page again.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is served. packed: its gzip copy, None where that is no smaller."""

    stamp: tuple[int, int]
    content: bytes
    packed: bytes | None
    media_type: str
    digest: str


class Wall:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[Path, File] = {}

    def page(self, request: Request, *names: str) -> Response:
        """The first of these pages that is there."""
        for name in names:
            if file := self._find(name):
                return _answer(request, file, NO_CACHE)
        page = _NOT_BUILT.format(folder=self.folder)
        return HTMLResponse(page, 503, {"cache-control": "no-store", "retry-after": "5"})

    def asset(self, request: Request, path: str, caching: str) -> Response | None:
        """A file by its path in the folder, None where there is none."""
        file = self._find(path)
        return _answer(request, file, caching) if file else None

    def _find(self, path: str) -> File | None:
        parts = path.split("/")
        if any(part in ("", ".", "..") or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            return None
        try:
            root = self.folder.resolve(strict=True)
            place = root.joinpath(*parts).resolve(strict=True)
            stat = place.stat()
            if not place.is_relative_to(root) or not place.is_file():
                return None
            stamp = stat.st_mtime_ns, stat.st_size
            file = self._files.get(place)
            if file is None or file.stamp != stamp:
                file = self._files[place] = _read(place, stamp)
        except OSError:
            return None
        return file


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding allows gzip. RFC 9110 12.5.3."""
    for item in header.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        if coding in ("gzip", "x-gzip", "*"):
            return not any(parameter.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for parameter in parameters)
    return False


def _read(place: Path, stamp: tuple[int, int]) -> File:
    content = place.read_bytes()
    kind = _TYPES.get(place.suffix) or mimetypes.guess_type(place.name)[0] or "application/octet-stream"
    packed = gzip.compress(content, 6, mtime=0) if len(content) >= MIN_GZIP and kind not in _PACKED else None
    if packed and len(packed) >= len(content):
        packed = None
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return File(stamp, content, packed, kind, hashlib.blake2b(content, digest_size=12).hexdigest())


def _answer(request: Request, file: File, caching: str) -> Response:
    packed = file.packed if accepts_gzip(request.headers.get("accept-encoding", "")) else None
    etag = f'"{file.digest}{"-gz" if packed else ""}"'
    headers = {"cache-control": caching, "etag": etag, "vary": "Accept-Encoding"}
    if matches(request, etag):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["content-encoding"] = "gzip"
    return Response(packed or file.content, 200, headers, file.media_type)


def matches(request: Request, etag: str) -> bool:
    """Whether a client has this already. RFC 9110 13.1.2: weak comparison."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in known or "*" in known
