"""SIGKILL of each part while a page is open: the page says what is wrong, comes back by itself, and every sample was counted once."""

import time
from collections.abc import Iterable

import pytest

from tests.browser.conftest import Open
from tests.browser.numbered import Copies, Numbered, Producer, cells, faults, once, spec
from tests.browser.system import System
from tests.browser.watching import GATEWAY_AWAY, UNAVAILABLE, Watched


class Numbers:
    """A dashboard of numbered samples in an open page."""

    def __init__(self, system: System, visit: Open, name: str) -> None:
        self._metric = f"numbered_{name}"
        self._name = f"numbered-{name}"
        self.system = system
        system.write(self._name, spec(self._metric))
        self.page: Watched = visit(f"/d/{self._name}")
        self.producer = Producer(system, self._metric)

    @property
    def epoch(self) -> str:
        dashboard = self.page.dashboard(self._name)
        assert dashboard, "the page holds nothing"
        return str(dashboard["epoch"])

    def wrong(self, copies: Iterable[Copies]) -> str:
        found = faults(copies, cells(self._metric, self.page.dashboard(self._name)))
        return f"{len(found)} faults, such as {found[:3]}" if found else ""

    def missing(self, samples: Iterable[Numbered]) -> str:
        """Whether some samples are not on the page yet, whatever else is."""
        held = cells(self._metric, self.page.dashboard(self._name))
        return next((found for found in faults(once(samples), held) if "counted 0 times" in found), "")

    def warm_up(self) -> list[Numbered]:
        """Until two seconds' samples are on the page, in both panels."""
        self.page.until(lambda: "" if len(self.producer.samples) >= 40 else "too few samples were accepted")
        seen = self.producer.samples
        self.page.until(lambda: self.missing(seen) or self._uncounted(seen))
        return seen

    def _uncounted(self, samples: Iterable[Numbered]) -> str:
        """Where no count is on the page yet: it is another view than the sum, which may come some moments later."""
        counts = cells(self._metric, self.page.dashboard(self._name))["count"]
        return next((f"{sample.place} has no count" for sample in samples if sample.place not in counts), "")


def outage(page: Watched, system: System, part: str, says: str) -> float:
    """Kill a part; when it is back before the page had to say anything, kill its successors, too, until the page says what is wrong.

    When all parts were up again, in monotonic seconds.
    """
    said, killed = len(page.said()), {system.kill(part)}

    def back() -> str:
        return system.why_not_up() if system.pid(part) not in {None, *killed} else f"{part} is not started again"

    def kill_and_listen() -> str:
        if any(says in text for text in page.said()[said:]):
            return ""
        if system.pid(part) not in {None, *killed}:
            killed.add(system.kill(part))
        return f"it does not say {says!r}"

    page.until(back)
    took, returned = page.until(kill_and_listen), page.until(back)
    print(f"\n{part} was killed {len(killed)} times, said after {took:.1f} s, up again after another {returned:.1f} s")
    return time.monotonic()


@pytest.mark.parametrize(
    ("part", "says"), [("ingestor", "samples (sources)"), ("aggregator", "aggregator"), ("valkey", "feed (Redis)")]
)
def test_every_accepted_sample_is_counted_once_after_a_kill(system: System, visit: Open, part: str, says: str) -> None:
    numbers = Numbers(system, visit, part)
    page = numbers.page
    page.allow(*UNAVAILABLE)
    if part == "valkey":  # it comes back empty: until the dashboards are written again there are none
        page.allow(r"answer: 404 GET .*/api/v1/dashboards/numbered-valkey", r"console: .* a status of 404 .*")
    with numbers.producer as producer:
        seen = numbers.warm_up()
        outage(page, system, part, says)
        if part != "valkey":  # what it has lost is computed again, and shown as it comes
            assert not numbers.missing(seen), "the page has lost what it had"
        page.until_live()
        after = len(producer.samples)
        page.until(lambda: "" if len(producer.samples) >= after + 20 else "nothing is accepted any more")
    print(f"right {page.until(lambda: numbers.wrong(once(producer.samples))):.1f} s after the last sample")


def test_a_page_outlives_its_gateway_and_resumes_where_it_was(system: System, visit: Open) -> None:
    numbers = Numbers(system, visit, "gateway")
    page = numbers.page
    page.allow(*GATEWAY_AWAY)
    with numbers.producer as producer:
        seen = numbers.warm_up()
        epoch, said, sockets = numbers.epoch, len(page.said()), len(page.sockets)
        outage(page, system, "gateway", "RECONNECTING")
        assert not numbers.missing(seen), "the page has lost what it had"
        page.until_said(r"RESUMED, \d+ points? recovered", said)
        page.until_live()
        assert numbers.epoch == epoch
    page.until(lambda: numbers.wrong(once(producer.samples)))
    answered = [frames for frames in page.sockets[sockets:] if frames.of("delta")]
    assert len(answered) == 1, "it needed more than one connection to resume"
    (subscription,) = answered[0].sent[:1]
    assert subscription["since"]["epoch"] == epoch
    assert set(subscription["since"]["versions"].values()) != {0}
    assert not answered[0].of("snapshot"), "the whole dashboard was sent again"


def test_a_broker_that_forgot_everything_costs_only_what_was_under_way(system: System, visit: Open) -> None:
    numbers = Numbers(system, visit, "broker")
    page = numbers.page
    with numbers.producer as producer:
        seen = {sample.number for sample in numbers.warm_up()}
        up = outage(page, system, "broker", "log (Kafka)")
        page.until_live()
        after = len(producer.samples)
        page.until(lambda: "" if len(producer.samples) >= after + 40 else "nothing is accepted any more")

    def copies() -> list[Copies]:
        safe = [sample.number in seen or sample.begun > up for sample in producer.samples]
        return [Copies(each.sample, int(sure), each.most) for each, sure in zip(once(producer.samples), safe, strict=True)]

    page.until(lambda: numbers.wrong(copies()))
