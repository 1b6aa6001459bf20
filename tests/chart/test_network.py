"""NetworkPolicies, worked out as a plugin does: which of our pods may reach which, on which ports, and what else gets in and out."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.chart.edges import EDGES, PORTS
from tests.chart.rendering import Object, Rendered, render
from tools.steps import ROOT

PAGE = ROOT / "docs" / "operations.md"


def test_the_page_lists_the_edges() -> None:
    section = re.search(r"^### Who may connect to whom$(.*?)^##", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert section
    rows = re.findall(r"^\| `(\w+)`[^|]*\|([^|]*)\|$", section[1], re.MULTILINE)
    assert {who: {(to, int(port)) for to, port in re.findall(r"`(\w+)` (\d+)", told)} for who, told in rows} == EDGES


def test_exactly_these_edges_are_open_among_our_pods() -> None:
    assert set(edges(render())) == {(source, to, port) for source in PORTS for to, port in EDGES[source] if to in PORTS}


def test_a_pod_that_is_not_ours_reaches_the_wall_and_if_it_is_in_the_cluster_the_ingestor() -> None:
    rendered = render()
    outside = {"namespace": "elsewhere"}
    open_to_all = {(to, port) for to in PORTS for port in PORTS[to] if admits(rendered, to, port, outside)}
    assert open_to_all == EDGES["stranger"]
    closed = render(
        {"gateway": {"allowFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}, "ingestor": {"allowFrom": [named("apps")]}}
    )
    assert not [to for to in PORTS for port in PORTS[to] if admits(closed, to, port, outside)]


def test_the_example_for_production_believes_few_and_lets_in_nobody_but_who_it_believes() -> None:
    """A pod that may connect and has a trusted address says of itself what it likes."""
    rendered = render(file="values-production.yaml")
    [trusted] = rendered.environ("Deployment", "gateway")["TIDEBOARD_GATEWAY_TRUSTED_PROXIES"].split(",")
    assert ipaddress.ip_network(trusted).num_addresses <= 256
    [route] = rendered.of("HTTPRoute")
    assert admits(rendered, "gateway", 8080, {"namespace": route["spec"]["parentRefs"][0]["namespace"]})
    assert not admits(rendered, "gateway", 8080, {"namespace": "elsewhere"})


def test_metrics_are_read_from_the_namespace_that_is_named_only() -> None:
    rendered = render({"networkPolicy": {"metricsFrom": [named("prometheus")]}})
    for component in ("ingestor", "aggregator", "gateway", "operator", "collector"):
        assert admits(rendered, component, 9100, {"namespace": "prometheus"})
        assert not admits(rendered, component, 9100, {"namespace": "monitoring"})


def test_everything_is_refused_but_dns() -> None:
    spec = render().one("NetworkPolicy", "default-deny")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert spec["egress"] == [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}]
    rendered = render()
    for _, pod in rendered.pods():
        assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_dns_may_listen_on_other_ports_behind_its_service() -> None:
    rendered = render({"networkPolicy": {"dnsPorts": [53, 5353], "dnsTo": [named("dns")]}})
    [rule] = rendered.one("NetworkPolicy", "default-deny")["spec"]["egress"]
    assert {(item["port"], item["protocol"]) for item in rule["ports"]} == {
        (53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")
    }  # fmt: skip
    assert rule["to"] == [named("dns")]


def test_only_the_operator_reaches_the_api_server_on_both_its_ports() -> None:
    beyond = {component: {port for port, to in outward(render(), component) if not to} for component in PORTS}
    assert beyond.pop("operator") == {443, 6443}
    assert not any(beyond.values())
    narrow = render({"networkPolicy": {"apiServerCIDRs": ["10.96.0.1/32"], "apiServerPorts": [6443]}})
    assert (6443, [{"ipBlock": {"cidr": "10.96.0.1/32"}}]) in list(outward(narrow, "operator"))


def test_ones_own_servers_are_reached_on_their_ports_and_nothing_else_is() -> None:
    rendered = render(file="external-everything-values.yaml")
    beyond = {
        component: {port for port, to in outward(rendered, component) if not to} for component in ("aggregator", "gateway")
    }
    assert beyond == {"aggregator": {9093, 9094, 9095, 26379, 26380, 6379}, "gateway": {26379, 26380, 6379, 8443}}


def test_brokers_are_reached_on_the_ports_that_they_advertise_where_these_are_said() -> None:
    values = {"networkPolicy": {"externalKafkaPorts": [30_093, 9093], "externalKafkaTo": [named("kafka")]}}
    rendered = render(values, file="external-everything-values.yaml")
    for component in ("ingestor", "aggregator"):
        assert {port for port, to in outward(rendered, component) if to == [named("kafka")]} == {9093, 9094, 9095, 30_093}
    assert 30_093 not in {port for port, _ in outward(rendered, "gateway")}


def test_the_servers_of_a_cluster_are_reached_on_the_ports_of_its_hosts_and_the_one_that_is_said_besides() -> None:
    rendered = render({"externalRedis": {"port": 7000}}, file="redis-cluster-values.yaml")
    assert {port for port, to in outward(rendered, "gateway") if not to} == {6380, 6381, 7000}


def test_servers_that_others_name_are_reached_on_the_ports_that_are_said() -> None:
    values = {"networkPolicy": {"externalRedisPorts": [6390, 6379], "externalRedisTo": [named("redis")]}}
    rendered = render(values, file="external-everything-values.yaml")
    for component in ("ingestor", "aggregator", "gateway", "operator"):
        assert {port for port, to in outward(rendered, component) if to == [named("redis")]} == {26379, 26380, 6379, 6390}


def test_values_open_more() -> None:
    rendered = render(
        {"gateway": {"networkPolicy": {"extraIngress": [{"from": [named("a")], "ports": [{"port": 9100}]}]}},
         "kafka": {"networkPolicy": {"extraEgress": [{"to": [named("b")]}]}}}
    )  # fmt: skip
    assert admits(rendered, "gateway", 9100, {"namespace": "a"})
    assert rules(rendered, "kafka", "egress") == [{"to": [named("b")]}]


def test_policies_can_be_left_out() -> None:
    assert not render({"networkPolicy": {"enabled": False}}).of("NetworkPolicy")
    names = render({"gateway": {"networkPolicy": {"enabled": False}}}).names("NetworkPolicy")
    assert {"ingestor-ingress", "ingestor-egress"} <= names
    assert not [name for name in names if name.startswith("gateway")]


def test_a_policy_has_one_direction_and_rules_for_it() -> None:
    """Some plugins read the rules of a policy for both directions as one list."""
    for found in render().of("NetworkPolicy"):
        if found["metadata"]["name"].endswith(("-ingress", "-egress")):
            direction = found["metadata"]["name"].rpartition("-")[2]
            assert found["spec"]["policyTypes"] == [direction.capitalize()]
            assert found["spec"][direction]
            assert {"ingress", "egress"} & found["spec"].keys() == {direction}


def named(namespace: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def edges(rendered: Rendered) -> Iterator[tuple[str, str, int]]:
    """From whom to whom on which port, where both ends agree, without what anybody may do."""
    anybody = {("ingestor", 8081), ("gateway", 8080)}  # in; not everybody is let out
    for source in PORTS:
        for target, ports in PORTS.items():
            for port in ports:
                let_in = (target, port) in anybody or admits(rendered, target, port, labels_of(rendered, source))
                if let_in and lets_out(rendered, source, target, port):
                    yield source, target, port


def lets_out(rendered: Rendered, source: str, target: str, port: int) -> bool:
    labels = labels_of(rendered, target)
    return any(port == allowed and any(selects(peer, labels) for peer in to) for allowed, to in outward(rendered, source))


def admits(rendered: Rendered, target: str, port: int, who: Mapping[str, str]) -> bool:
    """Whether a pod with these labels (or `namespace`, of somebody else's) gets in."""
    for rule in rules(rendered, target, "ingress"):
        ports = {item["port"] for item in rule.get("ports", ())}
        if port in ports and ("from" not in rule or any(selects(peer, who) for peer in rule["from"])):
            return True
    return False


def outward(rendered: Rendered, source: str) -> Iterator[tuple[int, list[Object]]]:
    """Ports and peers that a component may reach; no peers: anywhere."""
    for rule in rules(rendered, source, "egress"):
        for item in rule.get("ports", ()):
            yield item["port"], rule.get("to", [])


def rules(rendered: Rendered, component: str, direction: str) -> list[Object]:
    """None where the component has no policy of this direction: then what holds for all holds for it."""
    if f"{component}-{direction}" not in rendered.names("NetworkPolicy"):
        return []
    spec: Object = rendered.one("NetworkPolicy", f"{component}-{direction}")["spec"]
    assert spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
    found: list[Object] = spec[direction]
    return found


def labels_of(rendered: Rendered, component: str) -> Mapping[str, str]:
    [labels] = [
        pod["metadata"]["labels"] for _, pod in rendered.pods() if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]  # fmt: skip
    found: Mapping[str, str] = labels
    return found


def selects(peer: Mapping[str, Any], who: Mapping[str, str]) -> bool:
    if "namespaceSelector" in peer:
        wanted = peer["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name")
        return wanted is None or wanted == who.get("namespace")
    if "podSelector" in peer:
        return bool(peer["podSelector"]["matchLabels"].items() <= who.items())
    return False
