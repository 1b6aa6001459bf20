"""How the wall looks and behaves in hands: widths, themes, keys, and numbers that say how old they are."""

import re
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.source import Source
from tests.browser.system import System
from tests.browser.watching import Watched
from tests.servers import ROOT

SHIPPED = ("host", "tideboard")
BY_CUP = {"metric": "cup_celsius", "by": ["cup"], "fn": "last"}
CUPS: dict[str, Any] = {
    "title": "Cups",
    "window": "1m",
    "panels": [
        {"id": "lines", "type": "timeseries", "query": BY_CUP, "unit": "celsius"},
        {"id": "number", "type": "stat", "query": {**BY_CUP, "by": []}},
        {"id": "dial", "type": "gauge", "query": BY_CUP, "max": 100, "thresholds": [{"above": 50, "state": "warning"}, {"above": 80, "state": "critical"}]},
        {"id": "bars", "type": "bar", "query": BY_CUP},
        {"id": "rows", "type": "table", "query": {**BY_CUP, "fn": ["last", "max"]}},
        {"id": "pace", "type": "timeseries", "query": {**BY_CUP, "fn": "count"}},
    ],
}  # fmt: skip
PANELS = [panel["id"] for panel in CUPS["panels"]]
CELSIUS = {"blue": 30, "green": 60, "red": 90}
OVERFLOW = "[document.scrollingElement.scrollWidth, innerWidth]"


@pytest.fixture(scope="module")
def kettle(system: System) -> Iterator[Source]:
    """Posts the temperature of three cups ten times a second, while it is on."""
    for name in SHIPPED:
        shutil.copy(ROOT / "dashboards" / f"{name}.yaml", system.dashboards)
    system.publish("cups", CUPS)
    with Source(
        system, lambda _: [{"metric": "cup_celsius", "labels": {"cup": cup}, "value": value} for cup, value in CELSIUS.items()]
    ) as kettle:
        yield kettle


@pytest.fixture
def cups(kettle: Source, visit: Open) -> Watched:
    """The dashboard of the cups, live."""
    kettle.on()
    page = visit("/d/cups", reduced_motion="no-preference")
    page.until(lambda: "" if page.page.locator("[data-value]").count() >= 15 else "values are missing")
    page.until_live()
    return page


def background(page: Watched) -> int:
    """How bright the page is, 0 to 765."""
    color: str = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))


@pytest.mark.parametrize("path", ["/", *(f"/d/{name}" for name in SHIPPED), "/plotly/cups", "/d/nobody"])
def test_nothing_is_wider_than_the_screen(kettle: Source, visit: Open, path: str) -> None:
    kettle.on()
    page = visit(path, viewport={"width": 1280, "height": 800})
    page.page.wait_for_selector({"/": ".card", "/d/nobody": ".notice", "/plotly/cups": ".main-svg"}.get(path, "[data-value]"))
    for width in (1280, 390):
        page.page.set_viewport_size({"width": width, "height": 800})
        page.page.wait_for_timeout(300)
        needed, there = page.page.evaluate(OVERFLOW)
        assert needed <= there == width


@pytest.mark.parametrize("width", [1280, 390])
def test_every_panel_is_as_wide_as_its_place_and_what_is_in_it_stays_inside(cups: Watched, width: int) -> None:
    cups.page.set_viewport_size({"width": width, "height": 800})
    cups.page.wait_for_timeout(300)
    outside = cups.page.evaluate("""
        [...document.querySelectorAll("[data-panel]")].flatMap((panel) => {
          const box = panel.getBoundingClientRect();
          return [...panel.querySelectorAll(".digits, h2, canvas, svg")]
            .filter((element) => { const b = element.getBoundingClientRect(); return b.width > 0 && (b.right > box.right + 1 || b.left < box.left - 1); })
            .map((element) => `${panel.dataset.panel} ${element.className} ${element.textContent}`);
        })""")  # fmt: skip
    assert not outside
    widths = cups.page.evaluate(
        "[...document.querySelectorAll('[data-panel]')].map((panel) => panel.getBoundingClientRect().width)"
    )
    assert all(w > 300 for w in widths) if width == 390 else max(widths) > 600


@pytest.mark.parametrize(("scheme", "dark"), [("dark", True), ("light", False)])
def test_the_theme_is_the_systems_until_t_is_pressed_and_is_kept(kettle: Source, visit: Open, scheme: str, dark: bool) -> None:
    kettle.on()
    page = visit("/d/cups", color_scheme=scheme)
    page.page.wait_for_selector("[data-value]")
    assert (background(page) < 200) is dark
    page.page.keyboard.press("t")
    page.until(lambda: "" if (background(page) < 200) is not dark else "t changes nothing")
    page.page.reload()
    page.page.wait_for_selector("[data-value]")
    assert (background(page) < 200) is not dark
    page.page.locator("header.top button").click()
    page.until(lambda: "" if (background(page) < 200) is dark else "the button changes nothing")


def test_lines_are_drawn_in_the_colours_of_their_legend(cups: Watched) -> None:
    cups.page.wait_for_timeout(2_000)  # two buckets make a line
    missing = cups.page.evaluate("""
        [...document.querySelectorAll("[data-panel=lines] .swatch line")].map((line) => {
          const canvas = document.querySelector("[data-panel=lines] canvas");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const wanted = line.getAttribute("stroke").match(/\\w\\w/g).map((part) => parseInt(part, 16));
          let found = 0;
          for (let i = 0; i < data.length; i += 4)
            if (wanted.every((value, at) => Math.abs(data[i + at] - value) < 40) && data[i + 3] > 128) found++;
          return [line.getAttribute("stroke"), found];
        }).filter(([, found]) => found < 5)""")  # fmt: skip
    assert not missing
    assert cups.page.locator("[data-panel=lines] .swatch").count() == len(CELSIUS)


def test_what_is_beyond_a_threshold_is_told_by_an_icon_too(cups: Watched) -> None:
    dials = cups.page.locator("[data-panel=dial] li")
    for cup, state in {"blue": None, "green": "warning", "red": "critical"}.items():
        signs = dials.filter(has_text=cup).locator(".sign")
        assert [signs.nth(i).get_attribute("aria-label") for i in range(signs.count())] == ([state] if state else [])
    assert cups.page.locator("[data-panel=dial] header .sign").get_attribute("aria-label") == "critical"


def test_a_click_on_the_legend_shows_one_line_and_another_click_all(cups: Watched) -> None:
    chips = cups.page.locator("[data-panel=lines] .legend button")

    def pressed() -> list[str | None]:
        return [chips.nth(i).get_attribute("aria-pressed") for i in range(chips.count())]

    assert pressed() == ["true"] * 3
    chips.nth(1).click()
    cups.until(lambda: "" if pressed() == ["false", "true", "false"] else str(pressed()))
    chips.nth(1).focus()
    cups.page.keyboard.press("Enter")
    cups.until(lambda: "" if pressed() == ["true"] * 3 else str(pressed()))
    chips.nth(0).click(modifiers=["Shift"])
    cups.until(lambda: "" if pressed() == ["false", "true", "true"] else str(pressed()))


def test_a_table_is_sorted_by_the_column_that_is_clicked(cups: Watched) -> None:
    def order() -> list[str]:
        return cups.page.locator("[data-panel=rows] tbody tr td:first-child").all_inner_texts()

    cups.until(lambda: "" if order() == ["red", "green", "blue"] else str(order()))
    cups.page.locator("[data-panel=rows] th button").first.click()
    cups.until(lambda: "" if order() == ["blue", "green", "red"] else str(order()))
    assert cups.page.locator("[data-panel=rows] th").first.get_attribute("aria-sort") == "ascending"


def test_the_pointer_shows_the_values_of_its_time(cups: Watched) -> None:
    cups.page.wait_for_timeout(1_500)
    box = cups.page.locator("[data-panel=lines] .u-over").bounding_box()
    assert box
    cups.page.mouse.move(box["x"] + box["width"] - 30, box["y"] + box["height"] / 2)
    tooltip = cups.page.locator("[data-panel=lines] .tooltip")
    cups.until(lambda: "" if all(f"{value}.0" in tooltip.inner_text() for value in CELSIUS.values()) else tooltip.inner_text())


def test_every_panel_says_how_old_it_is_when_its_source_stops_and_no_longer_when_it_is_back(
    kettle: Source, cups: Watched
) -> None:
    def states() -> dict[str, tuple[str | None, str]]:
        found = {}
        for panel in PANELS:
            section = cups.page.locator(f"[data-panel={panel}]")
            found[panel] = section.get_attribute("data-stale"), " ".join(section.locator(".age").all_inner_texts())
        return found

    def fresh() -> str:
        said = states()
        return "" if all(stale == "false" and re.fullmatch(r"(≤ )?\d+ s", age) for stale, age in said.values()) else str(said)

    cups.until(fresh)
    kettle.off()
    stopped = time.time()
    cups.until(
        lambda: "" if all(stale == "true" and age.startswith("stale ") for stale, age in states().values()) else str(states())
    )
    cups.until_said(r"STALE \d+ s · samples \(sources\)")
    ages = [int(age.split()[1]) for _, age in states().values()]
    assert all(abs(age - (time.time() - stopped)) <= 3 for age in ages), f"{ages}, {time.time() - stopped:.1f} s after the end"
    assert cups.page.locator("[data-panel=number] [data-value]").count() == 1, "the last value is gone"
    kettle.on()
    cups.until(fresh)
    cups.until_live()
