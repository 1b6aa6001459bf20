"""Names, labels and selectors of everything, whatever the values, and that what is named is there."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.chart.rendering import FILES, RELEASE, WORKLOADS, Object, render
from tools.chart import CHART
from tools.steps import ROOT

EVERY_FILE = pytest.mark.parametrize("file", sorted(FILES))
CLUSTER_WIDE = ("CustomResourceDefinition",)
SELECTED_BY = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
COMPONENTS = ("ingestor", "aggregator", "gateway", "operator", "collector", "watcher", "kafka", "redis")
SINGLE = ("collector", "kafka", "redis")


@EVERY_FILE
def test_no_two_objects_have_one_name(file: str) -> None:
    names = [(found["kind"], found["metadata"]["name"]) for found in render(file=file).objects]
    assert len(names) == len(set(names))


@EVERY_FILE
def test_every_object_says_whose_it_is(file: str) -> None:
    for found in render(file=file).objects:
        if found["metadata"]["name"].endswith("-extra"):  # the values' own
            continue
        labels = found["metadata"]["labels"]
        wanted = SELECTED_BY - ({"app.kubernetes.io/component"} if found["kind"] in CLUSTER_WIDE else set())
        assert wanted < set(labels), found["metadata"]["name"]
        assert labels["app.kubernetes.io/instance"] == RELEASE
        assert labels["helm.sh/chart"].startswith("tideboard-")


@EVERY_FILE
def test_selectors_hold_what_never_changes_and_select_one_component(file: str) -> None:
    rendered = render(file=file)
    pods = dict(rendered.pods())
    for selector, name in selectors(rendered.objects):
        assert set(selector) <= SELECTED_BY, name
        selected = {name for name, pod in pods.items() if selector.items() <= pod["metadata"]["labels"].items()}
        if set(selector) == SELECTED_BY:
            assert len(selected) <= 1, name
    for found in rendered.of(*WORKLOADS):
        selector = found["spec"]["selector"]["matchLabels"]
        assert selector.items() <= found["spec"]["template"]["metadata"]["labels"].items()


def test_pods_have_no_label_that_changes_with_the_charts_version() -> None:
    """A release that changes nothing else would restart Kafka and Redis."""
    for name, pod in render().pods():
        if pod.get("kind") == "Pod":  # the test's, made anew each time
            continue
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(pod["metadata"]["labels"]), name


def test_labels_and_annotations_for_everything_reach_everything_and_no_selector() -> None:
    rendered = render(file="maximal-values.yaml")
    ours = [found for found in rendered.objects if not found["metadata"]["name"].endswith("-extra")]
    assert {found["metadata"]["labels"]["team"] for found in ours} == {"observability"}
    assert {found["metadata"]["annotations"]["example.com/owner"] for found in ours} == {"observability"}
    assert {pod["metadata"]["labels"]["team"] for _, pod in rendered.pods()} == {"observability"}
    assert not any("team" in selector for selector, _ in selectors(rendered.objects))


@EVERY_FILE
def test_what_pods_name_is_in_the_release_or_named_in_the_values(file: str) -> None:
    rendered = render(file=file)
    named = set(words(yaml.safe_load(FILES[file].read_text())))
    for name, pod in rendered.pods():
        for kind, wanted in references(pod["spec"]):
            there = {found["metadata"]["name"] for found in rendered.of(kind)}
            assert wanted in there | named, (name, kind)


@EVERY_FILE
def test_services_lead_to_ports_that_their_pods_have(file: str) -> None:
    rendered = render(file=file)
    services = rendered.of("Service")
    assert services
    for service in services:
        selector = service["spec"]["selector"]
        pods = [pod for _, pod in rendered.pods() if selector.items() <= pod["metadata"]["labels"].items()]
        assert pods
        wanted = {port["targetPort"] for port in service["spec"]["ports"]}
        assert any(wanted <= names_of_ports(pod) for pod in pods)


def test_gateways_have_one_service_for_traffic_and_one_that_leads_to_each() -> None:
    rendered = render()
    traffic, each = rendered.one("Service", "gateway")["spec"], rendered.one("Service", "gateway-headless")["spec"]
    assert traffic["type"] == "ClusterIP"
    assert "clusterIP" not in traffic
    assert [port["name"] for port in traffic["ports"]] == ["http"]  # the admin port takes orders
    assert each["clusterIP"] == "None"
    assert "publishNotReadyAddresses" not in each
    ways_in = render(file="maximal-values.yaml").of("Ingress", "HTTPRoute")
    assert {backend for route in ways_in for backend in backends(route)} == {"boards-gateway"}


@pytest.mark.parametrize("path", [{}, {"path": "/"}, {"pathType": "Prefix"}])
def test_a_path_of_an_ingress_need_not_say_everything(path: dict[str, str]) -> None:
    """The API server refuses one without its type, when the rest of the release is there."""
    exposed = {"enabled": True, "hosts": [{"host": "wall.example", "paths": [path]}]}
    [ingress] = render({"gateway": {"ingress": exposed}}).of("Ingress")
    [found] = ingress["spec"]["rules"][0]["http"]["paths"]
    assert (found["path"], found["pathType"]) == ("/", "Prefix")


def test_values_for_the_edge_reach_it() -> None:
    rendered = render(file="maximal-values.yaml")
    [service] = [found for found in rendered.of("Service") if found["metadata"]["name"] == "boards-gateway"]
    assert service["spec"]["ports"][0]["appProtocol"] == "kubernetes.io/ws"
    assert service["spec"]["trafficDistribution"] == "PreferClose"
    [ingress], [route] = rendered.of("Ingress"), rendered.of("HTTPRoute")
    assert (ingress["spec"]["ingressClassName"], ingress["metadata"]["labels"]["public"]) == ("traefik", "yes")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["wall.example", "other.example"]
    assert route["metadata"]["labels"]["public"] == "yes"
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways"}]
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "0s"}
    assert "timeouts" not in render(file="values-production.yaml").of("HTTPRoute")[0]["spec"]["rules"][0]


@EVERY_FILE
def test_disruption_budgets_let_nodes_be_drained(file: str) -> None:
    budgets = render(file=file).of("PodDisruptionBudget")
    assert budgets
    for budget in budgets:
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert budget["spec"].get("maxUnavailable") == 1 or "minAvailable" in budget["spec"]


def test_every_component_but_one_of_each_node_can_have_a_disruption_budget() -> None:
    rendered = render(
        {component: {"podDisruptionBudget": {"enabled": True}} for component in COMPONENTS if component != "collector"}
    )
    assert rendered.names("PodDisruptionBudget") == set(COMPONENTS) - {"collector"}


def test_the_built_in_servers_say_that_they_are_for_evaluation() -> None:
    for name in ("kafka", "redis"):
        found = render().one("StatefulSet", name)
        assert "evaluation only" in found["metadata"]["annotations"]["tideboard.dev/purpose"]


def test_the_built_in_kafkas_volume_lies_where_its_image_has_one() -> None:
    """Mounted above, the runtime would lay an empty volume over the data; and its data is in a folder, as a disk has lost+found."""
    mounts = {mount["name"]: mount["mountPath"] for mount in render().container("StatefulSet", "kafka")["volumeMounts"]}
    assert mounts["data"] == "/var/lib/kafka/data"
    assert not mounts["config"].startswith("/etc/kafka")
    assert "log.dirs=/var/lib/kafka/data/log\n" in render().one("ConfigMap", "kafka")["data"]["server.properties"]


def test_data_is_kept_in_claims_unless_values_say_otherwise() -> None:
    [claim] = render().one("StatefulSet", "kafka")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "8Gi"
    off = render({"kafka": {"persistence": {"enabled": False}}}).one("StatefulSet", "kafka")["spec"]
    assert "volumeClaimTemplates" not in off
    assert {"name": "data", "emptyDir": {}} in off["template"]["spec"]["volumes"]
    old = render({"redis": {"persistence": {"existingClaim": "old"}}}).one("StatefulSet", "redis")["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "old"}} in old["template"]["spec"]["volumes"]


def test_a_rollback_replaces_a_server_that_never_became_ready() -> None:
    """With OrderedReady the StatefulSet controller waits for such a pod, whatever it should be by now."""
    assert {found["spec"]["podManagementPolicy"] for found in render().of("StatefulSet")} == {"Parallel"}


@pytest.mark.parametrize(("size", "partitions"), [("8Gi", 4), ("1Gi", 4), ("100G", 48), ("8Gi", 200)])
def test_the_built_in_kafka_keeps_no_more_than_its_volume_holds(size: str, partitions: int) -> None:
    """A broker removes whole files, and never the one that it writes. Late samples and dead letters have a partition each."""
    found = render({"kafka": {"persistence": {"size": size}}, "topics": {"partitions": partitions}})
    lines = dict(line.split("=", 1) for line in found.one("ConfigMap", "kafka")["data"]["server.properties"].splitlines())
    volume = int(size.rstrip("Gi")) * (1 << 30 if size.endswith("i") else 10**9)
    kept, file = int(lines["log.retention.bytes"]), int(lines["log.segment.bytes"])
    assert volume / 2 < (kept + file) * (partitions + 2) < volume * 0.9
    assert file >= 1 << 20  # Kafka's least


def test_the_operators_rights_end_at_its_namespace_and_have_no_star() -> None:
    rendered = render()
    assert not rendered.of("ClusterRole", "ClusterRoleBinding")
    [role] = rendered.of("Role")
    assert not any("*" in part for rule in role["rules"] for part in itertools.chain.from_iterable(rule.values()))
    [binding] = rendered.of("RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "demo-tideboard-operator", "namespace": "boards"}]


def test_the_operators_rights_are_those_that_its_page_names() -> None:
    """With which tests/cluster runs it: what is more than those is too much."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = yaml.safe_load(page.partition("```yaml\nrules:")[2].partition("```")[0])
    [role] = render({"shippedDashboards": {"enabled": False}, "tests": {"enabled": False}}).of("Role")
    assert role["rules"] == named


def test_definitions_are_those_of_the_plain_files_and_outlive_the_release_if_wanted() -> None:
    for keep in (True, False):
        for found in render({"crds": {"keep": keep}}).of("CustomResourceDefinition"):
            plain = yaml.safe_load((CHART / "files" / "crds" / f"{found['spec']['names']['plural']}.yaml").read_text())
            assert found["spec"] == plain["spec"]
            kept = found["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
            assert kept == ("keep" if keep else None)
    assert not render({"crds": {"enabled": False}}).of("CustomResourceDefinition")


def test_dashboards_come_as_files_that_the_operator_makes_resources_of() -> None:
    """A release that holds a definition and a resource of it cannot be installed: Helm looks up all kinds first."""
    rendered = render()
    assert not rendered.of("Dashboard", "Source")
    assert set(rendered.one("ConfigMap", "shipped")["data"]) == {"host.yaml", "tideboard.yaml", "check.yaml"}
    environ = rendered.environ("Deployment", "operator")
    mounts = {mount["name"]: mount["mountPath"] for mount in rendered.container("Deployment", "operator")["volumeMounts"]}
    assert mounts["shipped"] == environ["TIDEBOARD_OPERATOR_SHIPPED"]
    assert environ["TIDEBOARD_OPERATOR_SHIPPED_OWNER"] == "demo-tideboard-shipped"
    [may_read] = [rule for rule in rendered.of("Role")[0]["rules"] if rule["resources"] == ["configmaps"]]
    assert may_read["resourceNames"] == ["demo-tideboard-shipped"]


@pytest.mark.parametrize("shipped", [True, False])
def test_of_dashboards_the_operator_may_change_those_that_it_ships_and_no_other(shipped: bool) -> None:
    """And take away what it has shipped before, which is not among the files any more."""
    rendered = render({"shippedDashboards": {"enabled": shipped}})
    texts = rendered.one("ConfigMap", "shipped")["data"].values()
    ever = {yaml.safe_load(path.read_text())["metadata"]["name"] for path in (CHART / "files" / "dashboards").glob("*.yaml")}
    named: dict[str, set[str]] = {}
    for rule in rendered.of("Role")[0]["rules"]:
        for verb in {"create", "patch", "delete"} & set(rule["verbs"]) if "dashboards" in rule["resources"] else ():
            assert rule["resourceNames"], "all of them"
            named.setdefault(verb, set()).update(rule["resourceNames"])
    now = {yaml.safe_load(text)["metadata"]["name"] for text in texts}
    assert named == {"create": now, "patch": now, "delete": ever}


def test_without_dashboards_the_operator_may_make_none() -> None:
    rendered = render({"shippedDashboards": {"enabled": False}, "tests": {"enabled": False}})
    assert "shipped" not in rendered.names("ConfigMap")
    verbs = {verb for rule in rendered.of("Role")[0]["rules"] if "dashboards" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"list", "watch"}
    only_check = render({"shippedDashboards": {"enabled": False}})
    assert set(only_check.one("ConfigMap", "shipped")["data"]) == {"check.yaml"}


def test_objects_of_the_values_are_templates() -> None:
    [extra] = [found for found in render(file="maximal-values.yaml").objects if found["metadata"]["name"] == "boards-extra"]
    assert extra["data"] == {"namespace": "boards"}


def test_a_component_that_is_turned_off_leaves_nothing_behind() -> None:
    for component in ("aggregator", "operator", "collector", "watcher"):
        left = render({component: {"enabled": False}}).objects
        assert not [item for item in left if item["metadata"]["labels"].get("app.kubernetes.io/component") == component]


def test_every_component_has_the_same_block_of_keys() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    common = set.intersection(*(set(values[component]) for component in COMPONENTS))
    assert {
        "image",
        "env",
        "extraEnv",
        "extraEnvFrom",
        "resources",
        "serviceAccount",
        "networkPolicy",
        "podDisruptionBudget",
    } < common
    assert len(common) > 30
    for component in set(COMPONENTS) - set(SINGLE):
        assert "replicaCount" in values[component]


def selectors(objects: tuple[Object, ...]) -> Iterator[tuple[Mapping[str, str], str]]:
    """Every selector of our pods, and where it is."""
    for found in objects:
        spec, name = found.get("spec", {}), found["metadata"]["name"]
        if found["kind"] == "Service":
            yield spec["selector"], name
        elif found["kind"] in (*WORKLOADS, "PodDisruptionBudget"):
            yield spec["selector"]["matchLabels"], name
        elif found["kind"] == "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"], name


def references(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a pod needs: kind and name."""
    yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        for source in volume.get("projected", {}).get("sources", ()):
            yield "Secret", source["secret"]["name"]
    for container in spec["containers"]:
        for source in container.get("envFrom", ()):
            kind = "ConfigMap" if "configMapRef" in source else "Secret"
            yield kind, source[f"{kind[0].lower()}{kind[1:]}Ref"]["name"]
        for item in container.get("env", ()):
            if secret := item.get("valueFrom", {}).get("secretKeyRef"):
                yield "Secret", secret["name"]


def names_of_ports(pod: Object) -> set[str]:
    return {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())}


def backends(route: Object) -> Iterator[str]:
    for rule in route["spec"]["rules"]:
        for path in rule.get("http", {}).get("paths", ()):
            yield path["backend"]["service"]["name"]
        for backend in rule.get("backendRefs", ()):
            yield backend["name"]


def words(value: object) -> Iterator[str]:
    """Every text in some values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from words(item)
    elif isinstance(value, list):
        for item in value:
            yield from words(item)


def test_the_only_broker_is_not_given_up_sooner_than_one_of_many() -> None:
    """Nobody could take over from it. 9 s are Kafka's default; of 2.5 s a busy node needed more for a heartbeat."""
    lines = render().one("ConfigMap", "kafka")["data"]["server.properties"].splitlines()
    settings = dict(line.split("=", 1) for line in lines if line)
    assert int(settings.get("broker.session.timeout.ms", "9000")) >= 9_000
    assert int(settings.get("broker.heartbeat.interval.ms", "2000")) <= 2_000
