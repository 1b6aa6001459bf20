"""Fixtures that every test may use: a real Valkey and a real broker, one of each per session, which with
xdist is one of each per worker.

They are shared: a test that kills one restarts it, and a test that needs an empty one calls `restart()`, or starts its own
with `tests.servers.running`.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka.server import Kafka
from tests.servers import Broker, Valkey, running

# How fast the machine is proves nothing. What a test sets for itself inherits these.
settings.register_profile("tideboard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tideboard")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from tests.scheduling import Files  # only where xdist is at work

    return Files(config, log)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """`url`, `port`, `kill()`, `start()`, `restart()`."""
    with running(Valkey()) as server:
        yield server


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """`bootstrap`, `port`, `kill()`, `start()`, `restart()`. Make topics before you produce: the broker corrupts unknown ones."""
    with running(Broker()) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Apache Kafka: as `broker`, and `restart(keep=True)`, `launch()`. `tests.kafka.server.empty` makes it empty in no time."""
    with running(Kafka(tmp_path_factory.mktemp("kafka"))) as server:
        yield server
