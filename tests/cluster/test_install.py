"""`helm install` as a newcomer does it: everything is Ready, the check passes, and the wall shows the node's own measurements."""

import pytest
from playwright.sync_api import Browser

from tests.cluster.release import Release

pytestmark = pytest.mark.node


def test_the_defaults_give_a_wall_with_live_data(release: Release, browser: Browser) -> None:
    said = release.install()
    assert "FOR EVALUATION ONLY" in said
    assert "Succeeded" in release.check()
    page = browser.new_page()
    page.goto(f"{release.url('gateway')}/#token={release.token()}")
    page.get_by_text("This machine").wait_for()
