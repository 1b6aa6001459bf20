import gzip
from pathlib import Path

import pytest
from starlette.requests import Request

from services.gateway.wall import IMMUTABLE, NO_CACHE, Wall, accepts_gzip

SCRIPT = "console.log('wall');" * 100


def request(**headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": fields, "query_string": b""})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "dist"
    (place / "assets").mkdir(parents=True)
    (place / "index.html").write_text("<!doctype html>")
    (place / "assets" / "app-1234.js").write_text(SCRIPT)
    (tmp_path / "secret.txt").write_text("secret")
    (place / "link.txt").symlink_to(tmp_path / "secret.txt")
    (place / ".hidden").write_text("hidden")
    return place


def test_a_file_is_served_with_its_type_and_a_tag(folder: Path) -> None:
    answer = Wall(folder).asset(request(), "assets/app-1234.js", IMMUTABLE)
    assert answer
    assert (answer.status_code, answer.body) == (200, SCRIPT.encode())
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in answer.headers


def test_who_accepts_gzip_gets_the_packed_copy_under_a_tag_of_its_own(folder: Path) -> None:
    wall = Wall(folder)
    plain = wall.asset(request(), "assets/app-1234.js", IMMUTABLE)
    packed = wall.asset(request(accept_encoding="br, gzip"), "assets/app-1234.js", IMMUTABLE)
    assert plain
    assert packed
    assert gzip.decompress(bytes(packed.body)) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] != plain.headers["etag"]
    again = wall.asset(
        request(accept_encoding="gzip", if_none_match=f'W/"x", {packed.headers["etag"]}'), "assets/app-1234.js", IMMUTABLE
    )
    assert again
    assert (again.status_code, again.body) == (304, b"")


def test_a_small_file_is_not_packed(folder: Path) -> None:
    answer = Wall(folder).page(request(accept_encoding="gzip"), "index.html")
    assert (answer.status_code, answer.body, answer.headers["cache-control"]) == (200, b"<!doctype html>", NO_CACHE)
    assert "content-encoding" not in answer.headers


def test_a_file_that_was_built_again_is_read_again(folder: Path) -> None:
    wall = Wall(folder)
    first = wall.page(request(), "index.html")
    (folder / "index.html").write_text("<!doctype html>new")
    second = wall.page(request(), "index.html")
    assert second.body == b"<!doctype html>new"
    assert second.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "assets/../../secret.txt", "/etc/passwd", "assets//app-1234.js", "link.txt", ".hidden", "assets", "",
     "assets\\..\\..\\secret.txt", "assets/\0", "nosuch.js", "x" * 5_000],
    ids=lambda path: repr(path)[:40],
)  # fmt: skip
def test_nothing_outside_of_the_folder_and_nothing_hidden_is_served(folder: Path, path: str) -> None:
    assert Wall(folder).asset(request(), path, NO_CACHE) is None


def test_the_first_page_that_is_there_is_taken(folder: Path) -> None:
    assert Wall(folder).page(request(), "plotly.html", "index.html").body == b"<!doctype html>"


def test_a_wall_that_is_not_built_says_what_to_do(tmp_path: Path) -> None:
    answer = Wall(tmp_path / "dist").page(request(), "index.html")
    assert answer.status_code == 503
    assert b"make build" in answer.body
    assert str(tmp_path / "dist").encode() in answer.body


@pytest.mark.parametrize(
    ("header", "yes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, br", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_used_only_where_it_is_accepted(header: str, yes: bool) -> None:
    assert accepts_gzip(header) is yes
