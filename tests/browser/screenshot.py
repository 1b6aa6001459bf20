"""`make screenshot`: the README's picture. This machine's own dashboard, after some time of live data, as docs/wall.png."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from playwright.sync_api import sync_playwright

from tests.browser.conftest import ARGUMENTS, chromium, running
from tests.browser.system import System
from tests.browser.watching import Watched
from tests.servers import ROOT

PICTURE = ROOT / "docs" / "wall.png"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make screenshot", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=75, help="how long this machine is watched, which is also what the picture shows"
    )
    parser.add_argument("--dashboard", default="host", help="which of the dashboards in dashboards/")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--size", default="1280x890")
    parser.add_argument("--to", type=Path, default=PICTURE)
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        system = System(Path(folder))
        spec = yaml.safe_load((ROOT / "dashboards" / f"{wanted.dashboard}.yaml").read_text())["spec"]
        system.write(wanted.dashboard, {**spec, "window": f"{wanted.seconds}s"})  # lines from edge to edge
        with running(system):
            print(f"watching this machine for {wanted.seconds} s")
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            width, height = map(int, wanted.size.split("x"))
            page = Watched(browser.new_context(viewport={"width": width, "height": height}, color_scheme=wanted.theme))
            page.page.goto(system.url(f"/d/{wanted.dashboard}"))
            page.page.wait_for_timeout(wanted.seconds * 1000)
            page.until_live()
            page.page.screenshot(path=wanted.to)
            browser.close()
    print(f"wrote {wanted.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
