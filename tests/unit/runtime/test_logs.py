"""Logs: JSON and human lines, libraries through the same door, repetitions collapsed."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.runtime.logs import Collapse, Reasons, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("uvicorn", "asyncio", "aiokafka")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_where_nobody_reads_along_a_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure("gateway", level="info")
    structlog.get_logger().warning("slow", viewers=3)
    (line,) = lines(capsys)
    assert line.pop("timestamp")
    assert line == {"service": "gateway", "event": "slow", "level": "warning", "viewers": 3}


def test_a_person_sees_who_speaks_and_no_colours_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure("all", console=True)
    structlog.get_logger().warning("slow", service="gateway", viewers=3)
    line = capsys.readouterr().err
    assert "gateway: slow viewers=3" in line
    assert "\x1b" not in line


def test_what_is_below_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure("gateway", level="error")
    structlog.get_logger().warning("slow")
    logging.getLogger("aiokafka").warning("slow")
    assert lines(capsys) == []


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("gateway")
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: no" in str(line["exception"])


def test_a_library_that_repeats_itself_is_heard_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure("ingestor")
    for node in range(50):
        logging.getLogger("aiokafka.conn").error("Unable to connect to node %s", node)
    logging.getLogger("aiokafka.conn").error("Something else")
    found = lines(capsys)
    assert [line["event"] for line in found] == ["Unable to connect to node 0", "Something else"]
    assert found[0]["logger"] == "aiokafka.conn"


def test_our_own_events_are_never_held_back(capsys: pytest.CaptureFixture[str]) -> None:
    configure("ingestor")
    for _ in range(3):
        structlog.get_logger().warning("slow")
    assert len(lines(capsys)) == 3


def test_what_was_held_back_is_counted_when_the_interval_is_over() -> None:
    collapse = Collapse(5.0)
    assert collapse.admit("a", 100.0) == 0
    assert [collapse.admit("a", 100.0 + i) for i in range(1, 5)] == [None] * 4
    assert collapse.admit("b", 104.0) == 0
    assert collapse.admit("a", 105.0) == 4
    assert collapse.admit("a", 111.0) == 0


def test_the_memory_of_what_was_said_is_bounded() -> None:
    collapse = Collapse(5.0)
    for key in range(10_000):
        assert collapse.admit(key, 0.0) == 0
    assert len(collapse._seen) <= 1_000


def test_each_reason_of_an_outage_is_told_once() -> None:
    reasons = Reasons()
    told = ["10.0.0.1:9092 refused", "10.0.0.2:9093 refused", "wrong password", "10.0.0.1:9092 refused", "wrong password"]
    assert [reasons.new(reason) for reason in told] == [True, False, True, False, False]
    reasons.over()
    assert reasons.new("wrong password")


def test_of_an_outage_with_ever_other_reasons_a_few_are_told() -> None:
    reasons = Reasons()
    assert sum(reasons.new("x" * number) for number in range(1_000)) < 10


@pytest.mark.parametrize("console", [True, False])
def test_a_traceback_does_not_show_what_variables_hold(capsys: pytest.CaptureFixture[str], console: bool) -> None:
    configure("gateway", console=console)

    def check(token: str) -> None:
        raise ValueError("no")

    try:
        check("-".join(["not", "to", "be", "seen"]))
    except ValueError:
        structlog.get_logger().exception("failed")
    said = capsys.readouterr().err
    assert "ValueError: no" in said
    assert "not-to-be-seen" not in said
