"""What the screen shows is what was posted: every function, by group, compared with what a batch job computes from the posts."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.posted import Expected, differences, expected, group_of, held, lines, same
from tests.browser.system import Sample, System
from tests.browser.watching import Watched

PLAIN = ["avg", "sum", "min", "max", "count", "last"]
QUANTILES = ["p50", "p75", "p90", "p95", "p99"]
MORE = ["first", "delta", "stddev", "distinct", "p99.9"]

SHOP: dict[str, Any] = {
    "title": "Shop",
    "window": "10m",
    "every": "5s",
    "panels": [
        {"id": "plain", "type": "table", "query": {"metric": "wait_seconds", "by": ["shop"], "fn": PLAIN}, "unit": "s"},
        {"id": "quantiles", "type": "table", "query": {"metric": "wait_seconds", "by": ["shop"], "fn": QUANTILES}},
        {"id": "more", "type": "table", "query": {"metric": "wait_seconds", "by": ["shop"], "fn": MORE}},
        {"id": "busiest", "type": "bar", "query": {"metric": "wait_seconds", "of": "shop", "fn": "topk(2)"}},
        {"id": "counters", "type": "timeseries", "query": {"metric": "sold_total", "by": ["shop"], "fn": ["rate", "increase"]}},
        {"id": "kinds", "type": "stat", "queries": [
            {"id": "added", "metric": "stock_added", "fn": "sum"},
            {"id": "seen", "metric": "basket_size", "fn": ["sum", "count", "p50"]},
        ]},
        {"id": "exact", "type": "stat", "query": {"metric": "wait_seconds", "where": {"shop": "north"}, "fn": "avg"}},
        {"id": "listed", "type": "bar", "query": {
            "metric": "wait_seconds", "where": {"shop": ["north", "south"]}, "by": ["shop"], "fn": "max"}},
        {"id": "pattern", "type": "gauge", "query": {
            "metric": "sold_total", "where": {"code": "=~ 5.."}, "by": ["shop", "code"], "fn": "increase"}},
        {"id": "expression", "type": "timeseries", "queries": [
            {"id": "failed", "metric": "sold_total", "where": {"code": "=~ 5.."}, "by": ["shop"], "fn": "increase"},
            {"id": "all", "metric": "sold_total", "by": ["shop"], "fn": "increase"},
        ], "expr": "failed / all * 100", "unit": "percent"},
        {"id": "each", "type": "bar", "query": {"metric": "wait_seconds", "by": ["shop"], "fn": "avg", "each": "max"}},
    ],
}  # fmt: skip

# Small enough for a person to compute. Both tills of shop a are in one bucket of 10 s.
TEA: dict[str, Any] = {
    "title": "Tea",
    "window": "10m",
    "every": "10s",
    "panels": [
        {"id": "celsius", "type": "table", "query": {"metric": "tea_celsius", "by": ["shop"], "fn": [*PLAIN, *QUANTILES]}, "unit": "celsius"},
        {"id": "cups", "type": "table", "query": {"metric": "cups_total", "fn": ["rate", "increase"]}},
        {"id": "share", "type": "stat", "queries": [
            {"id": "tea", "metric": "cups_total", "fn": "increase"}, {"id": "heat", "metric": "tea_celsius", "where": {"till": "1"}, "fn": "count"},
        ], "expr": "heat / tea", "unit": "percentunit"},
        {"id": "bytes", "type": "stat", "query": {"metric": "leaf_bytes", "fn": "last"}, "unit": "bytes"},
    ],
}  # fmt: skip
TEA_SHOWN = {
    # till 1: 60, 62, 64 and 66; till 2: 70. `sum` of gauges adds the last value of each series, everything else pools.
    ("celsius", "avg"): (64.4, "64.4\u202f°C"),
    ("celsius", "sum"): (136, "136.0\u202f°C"),
    ("celsius", "min"): (60, "60.0\u202f°C"),
    ("celsius", "max"): (70, "70.0\u202f°C"),
    ("celsius", "count"): (5, "5.0\u202f°C"),
    ("celsius", "last"): (66, "66.0\u202f°C"),
    ("cups", "rate"): (1.5, "1.50"),
    ("cups", "increase"): (15, "15"),
    ("share", ""): (4 / 15, "26.7\u202f%"),
    ("bytes", "last"): (3 * 1024**2, "3\u202fMiB"),
}


@pytest.fixture(scope="module")
def posted(system: System) -> Iterator[dict[str, list[Sample]]]:
    """Half is there before the dashboards are, so that they are filled from the past; half comes while a page is open."""
    now = int(time.time() * 1000)
    shop, tea = shop_samples(now // 5_000 * 5_000), tea_samples(now // 10_000 * 10_000)
    system.post(shop[: len(shop) // 2])
    system.write("shop", SHOP)
    system.write("tea", TEA)
    yield {"shop": shop, "tea": tea}


def shop_samples(end: int) -> list[Sample]:
    """Two minutes of everything, up to half a minute ago; out of order but for the counters, which are reset now and then."""
    chance = random.Random(3)
    found: list[Sample] = []
    sold: dict[tuple[str, str], int] = {}
    for at in range(end - 150_000, end - 30_000, 1_000):
        for shop in ("north", "south", "east"):
            for till in "12":
                labels = {"shop": shop, "till": till}
                found.append(
                    {
                        "metric": "wait_seconds",
                        "labels": labels,
                        "time": at - chance.randrange(4_000),
                        "value": chance.lognormvariate(1, 1),
                    }
                )
            for code in ("200", "500", "503"):
                before = 0 if chance.random() < 0.02 else sold.get((shop, code), 0)
                sold[shop, code] = before + chance.randrange(20)
                labels = {"shop": shop, "code": code}
                found.append(
                    {"metric": "sold_total", "labels": labels, "time": at, "value": sold[shop, code], "kind": "counter"}
                )
        found.append({"metric": "stock_added", "time": at + 500, "value": chance.randrange(9), "kind": "delta"})
        found.append({"metric": "basket_size", "time": at + 600, "value": chance.uniform(1, 50), "kind": "distribution"})
    return found


def tea_samples(end: int) -> list[Sample]:
    at = end - 40_000
    degrees = [("1", 60), ("1", 62), ("1", 64), ("2", 70), ("1", 66)]
    return [
        *({"metric": "tea_celsius", "labels": {"shop": "a", "till": till}, "time": at + i * 1000, "value": value} for i, (till, value) in enumerate(degrees)),
        {"metric": "cups_total", "time": at, "value": 100, "kind": "counter"},
        {"metric": "cups_total", "time": at + 10_000, "value": 115, "kind": "counter"},
        {"metric": "leaf_bytes", "time": at, "value": 3 * 1024**2},
    ]  # fmt: skip


def shown(page: Watched, panel: str) -> list[dict[str, str]]:
    """Every value that a panel shows: its attributes, and its text."""
    found: list[dict[str, str]] = page.page.locator(f"[data-panel={panel}] [data-group]").evaluate_all(
        "(elements) => elements.map((element) => ({ ...element.dataset, text: element.textContent }))"
    )
    return found


def wrongly_shown(page: Watched, spec: dict[str, Any], wanted: Expected) -> list[str]:
    """Every panel shows, of every line and group that there is, the value of the newest bucket."""
    wrong = []
    for panel, of in lines("any", spec).items():
        there = {(item["query"], item["fn"], group_of(item["group"])): item for item in shown(page, panel)}
        for line in of:
            for group in {group for group, _ in wanted[line.view.id]}:
                newest = max(at for other, at in wanted[line.view.id] if other == group)
                item = there.pop((line.query, line.fn, group), None)
                value = wanted[line.view.id][group, newest]
                if item is None or int(item["time"]) != newest or not same(float(item["value"]), value):
                    wrong.append(f"{panel} {line.query} {line.fn} {group}: {item} instead of {value} at {newest}")
        wrong += [f"{panel}: {item} should not be there" for item in there.values()]
    return wrong


def first(wrong: list[str]) -> str:
    return f"{len(wrong)} are wrong, such as {wrong[:3]}" if wrong else ""


def test_every_value_on_the_screen_is_what_a_batch_job_computes_from_the_posts(
    system: System, visit: Open, posted: dict[str, list[Sample]]
) -> None:
    samples = posted["shop"]
    half = len(samples) // 2
    page = visit("/d/shop", viewport={"width": 1280, "height": 2000})
    before = expected("shop", SHOP, samples[:half])
    page.until(lambda: first(differences(held(page.dashboard("shop") or {"views": {}}), before)))
    for at in range(half, len(samples), 200):
        system.post(samples[at : at + 200])
    wanted = expected("shop", SHOP, samples)
    page.until(lambda: first(differences(held(page.dashboard("shop") or {"views": {}}), wanted)))
    page.until(lambda: first(wrongly_shown(page, SHOP, wanted)))
    assert sum(map(len, wanted.values())) > 1_000
    system_has = system.snapshot("shop")
    assert {view["id"] for view in system_has["views"]} == set(wanted)


def test_a_person_reads_the_numbers_with_their_units(system: System, visit: Open, posted: dict[str, list[Sample]]) -> None:
    page = visit("/d/tea")
    system.post(posted["tea"])

    def wrong() -> str:
        found = {(panel, item["fn"]): item for panel in lines("tea", TEA) for item in shown(page, panel)}
        return first([
            f"{at}: {found.get(at)} instead of {value}, {text!r}"
            for at, (value, text) in TEA_SHOWN.items()
            if at not in found or float(found[at]["value"]) != value or found[at]["text"].replace(" ", "") != text.replace("\u202f", "")
        ])  # fmt: skip

    page.until(wrong)
    assert page.page.locator("[data-panel=celsius] tbody tr").count() == 1
    # The exact quantile of 60, 62, 64, 66 and 70 at rank int(q * 4), give or take the sketch's 0.55 %.
    quantiles = {item["fn"]: float(item["value"]) for item in shown(page, "celsius") if item["fn"].startswith("p")}
    for fn, exact in {"p50": 64, "p75": 66, "p90": 66, "p95": 66, "p99": 66}.items():
        assert quantiles[fn] == pytest.approx(exact, rel=0.0055)
