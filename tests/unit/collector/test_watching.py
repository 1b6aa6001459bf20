"""Services that are read by a name with several addresses: each is read, told apart, and forgotten when it is gone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.collector.watching import Target


@contextmanager
def serving(address: str, port: int = 0) -> Iterator[int]:
    """Metrics at an address of this machine; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"# TYPE tideboard_x gauge\ntideboard_x 1\n")

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def said(target: Target) -> dict[str, dict[str, float]]:
    """Values by metric, by instance."""
    found: dict[str, dict[str, float]] = {}
    for sample in target.read():
        assert sample.labels["service"] == "gateway"
        found.setdefault(sample.labels.get("instance", ""), {})[sample.metric] = sample.value
    return found


def test_every_address_of_a_name_is_read_and_told_apart_and_forgotten_when_it_is_gone() -> None:
    addresses = ["127.0.0.1", "127.0.0.2"]
    with serving("127.0.0.1") as port, serving("127.0.0.2", port):
        target = Target(f"gateway=dns+http://gateways.example:{port}/metrics", lambda host, at: addresses if (host, at) == ("gateways.example", port) else [])  # fmt: skip
        both = {"tideboard_service_up_ratio": 1.0, "tideboard_x": 1.0}
        assert said(target) == {"127.0.0.1": both, "127.0.0.2": both}
        assert target.fault == ""
        del addresses[1]
        assert set(said(target)) == {"127.0.0.1"}


def test_an_address_that_does_not_answer_is_down_and_named_and_the_others_are_read() -> None:
    with serving("127.0.0.1") as port:
        target = Target(f"gateway=dns+http://gateways.example:{port}/metrics", lambda *_: ["127.0.0.1", "127.0.0.3"])
        found = said(target)
        assert found["127.0.0.3"] == {"tideboard_service_up_ratio": 0.0}
        assert found["127.0.0.1"]["tideboard_x"] == 1.0
        assert target.fault.startswith("127.0.0.3 ")


def test_a_name_that_nothing_has_is_said_and_nothing_is_read() -> None:
    def nothing(*_: object) -> list[str]:
        raise OSError("Name or service not known")

    target = Target("gateway=dns+http://gateways.example:9100/metrics", nothing)
    assert said(target) == {}
    assert target.fault == "gateways.example: Name or service not known"


def test_one_address_needs_no_instance() -> None:
    with serving("127.0.0.1") as port:
        assert set(said(Target(f"gateway=http://127.0.0.1:{port}/metrics", lambda *_: []))) == {""}


@pytest.mark.parametrize("text", ["gateway=dns+ftp://a/", "gateway=dns+", "gateway"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        Target(text, lambda *_: [])
