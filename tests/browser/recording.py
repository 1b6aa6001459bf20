"""A recording of the frames that a page received, played again as docs/protocol.md says: what a client would hold, and whether frames join on."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.browser.numbered import Place

Frame = Mapping[str, Any]


def play(frames: Iterable[Frame], *, healing: bool = True) -> dict[str, dict[Place, float]]:
    """The cells by view, with `lane` as the group. healing: a part that starts after what is held is refused, as a client owes;
    without it every part is believed."""
    views: list[dict[str, Any]] = []
    for frame in frames:
        if frame["type"] == "snapshot":
            views = [
                {"id": view["id"], "version": frame["versions"][view["id"]], "groups": {}, "cells": {}}
                for view in frame["views"]
            ]
            for view, content in zip(views, frame["views"], strict=True):
                _write(view, content["groups"], content["cells"])
        elif frame["type"] == "delta":
            for index, since, to, _, groups, cells in frame["views"]:
                if healing and since > views[index]["version"]:
                    continue
                views[index]["version"] = to
                _write(views[index], groups, cells)
    return {view["id"]: view["cells"] for view in views}


def joints(frames: Iterable[Frame]) -> list[str]:
    """Where frames do not join on to each other: what is missing in between, and what was there already."""
    wrong: list[str] = []
    held: dict[int, int] = {}
    for frame in frames:
        if frame["type"] == "snapshot":
            held = {index: frame["versions"][view["id"]] for index, view in enumerate(frame["views"])}
        elif frame["type"] == "delta":
            for index, since, to, _, _, cells in frame["views"]:
                if since > held[index]:
                    wrong.append(f"view {index} misses {held[index]} to {since}")
                if to <= held[index] and cells:
                    wrong.append(f"view {index} repeats {since} to {to}")
                held[index] = max(held[index], to)
    return wrong


def _write(view: dict[str, Any], groups: Iterable[Any], cells: Iterable[Any]) -> None:
    view["groups"] |= {number: labels["lane"] for number, labels in groups}
    for start, numbers, values in cells:
        for number, value in zip(numbers, values, strict=True):
            if value is not None:
                view["cells"][view["groups"][number], start] = value
