"""The README's example, as it stands there: the sample is taken, and the dashboard shows it."""

import json
import re
import shlex
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.stack import ROOT, Stack, running

PATIENCE_S = 20.0
README = (ROOT / "README.md").read_text()


def block(first: str) -> str:
    """The indented block that begins so, without its indentation."""
    found = re.search(rf"^(    {re.escape(first)}.*\n(?:(?:    .*)?\n)*)", README, re.MULTILINE)
    assert found, f"the README has no {first!r}"
    return "\n".join(line[4:] for line in found[1].rstrip().splitlines())


def post(command: str, stack: Stack) -> Any:
    """What curl would send, to this system's port."""
    words = shlex.split(command.replace("\\\n", " "))
    options = dict(pairwise(words))
    url = options["-s"].replace(":8081/", f":{stack.ingestor}/")
    name, value = options["-H"].split(": ")
    with urllib.request.urlopen(urllib.request.Request(url, options["-d"].encode(), {name: value}), timeout=10) as answer:
        assert answer.status == 202
        return json.load(answer)


def shown(stack: Stack) -> list[tuple[dict[str, str], float]]:
    snapshot = stack.get(stack.gateway, "/api/v1/dashboards/tea/snapshot")
    return [
        (dict(view["groups"])[group], value)
        for view in snapshot["views"]
        for _, groups, values in view["cells"]
        for group, value in zip(groups, values, strict=True)
    ]


def test_the_sample_of_the_readme_shows_on_its_dashboard(tmp_path: Path) -> None:
    (tmp_path / "tea.yaml").write_text(block("apiVersion:"))
    with running(tmp_path) as stack:
        assert post(block("curl"), stack) == {"accepted": 1, "rejected": 0, "errors": []}
        deadline = time.monotonic() + PATIENCE_S
        while not (found := shown(stack)):
            assert time.monotonic() < deadline, "the dashboard shows nothing"
            time.sleep(0.1)
        assert found == [({"cup": "mine"}, 61.5)]
