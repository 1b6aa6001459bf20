"""The gateway behind the balancer drains while the wall is open: the numbers go on, from another one, and nothing shows."""

import contextlib
import re
from collections.abc import Iterator

from services.local.embedded import free_port
from tests.balancer import Running, balancing
from tests.browser.conftest import Open
from tests.browser.numbered import once
from tests.browser.system import System
from tests.browser.test_outages import Numbers
from tests.fleet import Fleet

NAMES = ("one", "two")
DISTURBED = r"CONNECTING|RESUMED|GAP|STALE|OFFLINE"


@contextlib.contextmanager
def gateways(system: System) -> Iterator[tuple[Fleet, Running]]:
    """Two more gateways over the Redis of a system, behind a balancer."""
    valkey = next(child["address"] for child in system.status()["children"] if child["name"] == "valkey")
    with Fleet(REDIS_URL=f"redis://{valkey}/0", TIDEBOARD_GATEWAY_DRAIN_NOTICE="1") as fleet:
        ports = {name: free_port() for name in NAMES}
        with balancing({name: (ports[name], fleet.reserve(name)) for name in NAMES}, lag_s=0.5) as balancer:
            for name in NAMES:
                fleet.start(name, "gateway", {"TIDEBOARD_GATEWAY_PORT": str(ports[name])})
            balancer.until_ready(*NAMES)
            yield fleet, balancer


def test_a_page_is_moved_to_another_gateway_and_nothing_shows(system: System, visit: Open) -> None:
    with gateways(system) as (fleet, balancer):
        numbers = Numbers(system, lambda path: visit(f"http://127.0.0.1:{balancer.port}{path}"), "moved")
        page = numbers.page
        with numbers.producer as producer:
            numbers.warm_up()
            page.until_live()
            epoch, said = numbers.epoch, len(page.said())
            home, away = sorted(NAMES, key=lambda name: -int(fleet.status(name)["sockets"]))
            fleet.order(home, "/drain")
            page.until(lambda: "" if fleet.code(home) is not None else "it has not ended")
            assert fleet.code(home) == 0
            assert fleet.status(away)["sockets"] == 1
            after = len(producer.samples)
            page.until(lambda: "" if len(producer.samples) >= after + 20 else "nothing is accepted any more")
        page.until(lambda: numbers.wrong(once(producer.samples)))
        assert not [text for text in page.said()[said:] if re.search(DISTURBED, text)]
        assert numbers.epoch == epoch
    old, new = page.sockets
    assert (old.closed, new.closed) == (True, False)
    assert new.sent[0]["since"]["epoch"] == epoch
    assert not new.of("snapshot"), "the whole dashboard was sent again"
