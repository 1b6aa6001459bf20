"""What `all` consists of."""

from collections.abc import Callable, Mapping
from itertools import count

import pytest

from services.local.catalog import sections, values
from services.local.composition import compose, needs, refusal
from services.local.members import Composition
from services.local.settings import LocalSettings

PARENT = 4711


def composed(environ: Mapping[str, str], local: LocalSettings | None = None) -> tuple[Composition, dict[str, object]]:
    known = values((cls for section in sections() for cls in section.classes), environ)
    return compose(local or LocalSettings(), environ, known, ports(), PARENT), known


def ports() -> Callable[[], int]:
    numbers = count(20_000)
    return lambda: next(numbers)


def told(composition: Composition, name: str) -> Mapping[str, str]:
    member = composition.member(name)
    assert member is not None
    return member.command.environ


def test_by_default_there_are_two_servers_and_four_services_that_know_them() -> None:
    composition, _ = composed({"PATH": "/bin"})
    assert [member.name for member in composition.members] == [
        "valkey",
        "broker",
        "ingestor",
        "aggregator",
        "gateway",
        "collector",
    ]
    for name in ("ingestor", "aggregator", "gateway", "collector"):
        environ = told(composition, name)
        assert environ["REDIS_URL"] == "redis://127.0.0.1:20000/0"
        assert environ["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:20001"
        assert environ["TIDEBOARD_PARENT"] == str(PARENT)
        assert environ["PATH"] == "/bin"


def test_services_are_started_as_a_pod_starts_them() -> None:
    composition, _ = composed({})
    member = composition.member("gateway")
    assert member is not None
    assert member.command.arguments[1:] == ("-m", "services", "gateway")


def test_servers_that_are_named_are_not_started() -> None:
    composition, _ = composed({"REDIS_URL": "redis://elsewhere:1/2", "KAFKA_BOOTSTRAP_SERVERS": "k:9092"})
    assert [member.name for member in composition.members] == ["ingestor", "aggregator", "gateway", "collector"]
    assert told(composition, "gateway")["REDIS_URL"] == "redis://elsewhere:1/2"
    assert composition.redis_url == "redis://elsewhere:1/2"
    assert "TIDEBOARD_KAFKA_FETCH_WAIT_MS" not in told(composition, "aggregator")


def test_the_embedded_broker_is_asked_often_because_it_does_not_answer_early() -> None:
    assert told(composed({})[0], "aggregator")["TIDEBOARD_KAFKA_FETCH_WAIT_MS"] == "50"
    mine = {"TIDEBOARD_KAFKA_FETCH_WAIT_MS": "10"}
    assert told(composed(mine)[0], "aggregator")["TIDEBOARD_KAFKA_FETCH_WAIT_MS"] == "10"


def test_admin_ports_count_up_from_the_first() -> None:
    composition, _ = composed({"TIDEBOARD_ADMIN_PORT": "9500"})
    admins = {member.name: member.admin for member in composition.members if member.admin}
    assert admins == {"ingestor": 9500, "aggregator": 9501, "gateway": 9502, "collector": 9504}
    assert told(composition, "collector")["TIDEBOARD_ADMIN_PORT"] == "9504"


def test_a_port_of_zero_is_a_free_one_that_everybody_knows() -> None:
    composition, _ = composed({"TIDEBOARD_GATEWAY_PORT": "0", "TIDEBOARD_INGESTOR_PORT": "0"})
    gateway = composition.member("gateway")
    assert gateway is not None
    assert gateway.port >= 20_000
    assert told(composition, "gateway")["TIDEBOARD_GATEWAY_PORT"] == str(gateway.port)
    assert composition.wall == f"http://127.0.0.1:{gateway.port}/"
    ports = [port for member in composition.members for port in (member.port, member.admin) if port]
    assert len(ports) == len(set(ports))


def test_the_collector_knows_the_ingestor_and_reads_everybodys_metrics() -> None:
    environ = told(composed({"TIDEBOARD_INGESTOR_PORT": "8181"})[0], "collector")
    assert environ["TIDEBOARD_COLLECTOR_URL"] == "http://127.0.0.1:8181/api/v1/samples"
    targets = environ["TIDEBOARD_COLLECTOR_SCRAPE"].split(",")
    assert targets[0] == "ingestor=http://127.0.0.1:9100/metrics"
    assert targets[-1] == "all=http://127.0.0.1:9105/metrics"
    assert told(composed({"TIDEBOARD_COLLECTOR_URL": "http://x/"})[0], "collector")["TIDEBOARD_COLLECTOR_URL"] == "http://x/"


def test_the_walls_address_can_be_opened_where_the_gateway_listens_everywhere() -> None:
    assert composed({"TIDEBOARD_GATEWAY_HOST": "0.0.0.0"})[0].wall == "http://127.0.0.1:8080/"


@pytest.mark.parametrize(
    ("port", "sentence"),
    [
        (8080, "port 8080, which the gateway needs, is taken by another process; TIDEBOARD_GATEWAY_PORT chooses another port"),
        (
            8081,
            "port 8081, which the ingestor needs, is taken by another process; TIDEBOARD_INGESTOR_PORT chooses another port",
        ),
        (
            9104,
            "port 9104, which the collector's admin server needs, is taken by another process; TIDEBOARD_ADMIN_PORT chooses another port",
        ),
        (
            6379,
            "port 6379, which the embedded valkey needs, is taken by another process; TIDEBOARD_LOCAL_VALKEY_PORT chooses another port",
        ),
    ],
)
def test_who_needs_a_port_and_what_chooses_another_is_said(port: int, sentence: str) -> None:
    composition, known = composed({}, LocalSettings(valkey_port=6379))
    assert [refusal(need) for need in needs(composition, known) if need.port == port] == [sentence]
