"""What is applied with kubectl, in an open browser: API server, operator, Valkey, gateway, Chromium."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.cluster import operating
from tests.cluster.cluster import Cluster
from tests.cluster.operating import Operator, document
from tests.gateway_process import GatewayProcess, running
from tests.servers import Valkey

pytestmark = pytest.mark.api

PANEL = {"id": "cpu", "type": "stat", "query": {"metric": "load"}}


@pytest.fixture
def gateway(cluster: Cluster, namespace: str, valkey: Valkey, tmp_path: Path) -> Iterator[GatewayProcess]:
    """With an operator beside it."""
    with operating.definitions(cluster):
        kubeconfig = operating.account(cluster, namespace, tmp_path)
        operating.grant(cluster, namespace, namespace)
        operator = Operator(kubeconfig, valkey.url)
        operator.start()
        with running(GatewayProcess(valkey.url, tmp_path)) as started:
            yield started
        assert operator.stop() == 0


def test_an_open_browser_shows_what_is_applied(
    cluster: Cluster, namespace: str, gateway: GatewayProcess, browser: Browser
) -> None:
    def apply(title: str, *panels: dict[str, object]) -> None:
        spec = {"title": title, "panels": list(panels)}
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=document("shop", spec))

    apply("The shop", {**PANEL, "title": "How busy"})
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{gateway.port}/d/shop")
    expect(page.get_by_text("How busy")).to_be_visible()
    apply("Another shop", {**PANEL, "title": "How busy now"}, {**PANEL, "id": "more", "title": "And more"})
    expect(page.get_by_text("How busy now")).to_be_visible()
    expect(page.get_by_text("And more")).to_be_visible()
    expect(page).to_have_title(re.compile("Another shop"))
    page.close()
