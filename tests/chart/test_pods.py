"""Every pod, whatever the values: Pod Security "restricted", no token where none is used, probes, and an end in good order."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from services.gateway.settings import LeavingSettings
from services.runtime.settings import load
from tests.chart.rendering import FILES, NAMESPACE, render
from tests.chart.restricted import violations

OURS = ("ingestor", "aggregator", "gateway", "operator", "collector", "watcher")
EVERY_FILE = pytest.mark.parametrize("file", sorted(FILES))


@EVERY_FILE
def test_every_pod_passes_restricted(file: str) -> None:
    pods = list(render(file=file).pods())
    assert len(pods) >= 4
    assert {name: found for name, pod in pods if (found := violations(pod["spec"]))} == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, "volume a"),
        ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "runAsNonRoot"),
        ({"securityContext": {"runAsNonRoot": True, "runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}}, "root"),
        ({"securityContext": {"runAsNonRoot": True}}, "seccomp"),
        ({"initContainers": [{"name": "b"}]}, "b: privileges"),
    ],
)
def test_the_check_itself_sees_what_restricted_refuses(change: Mapping[str, Any], said: str) -> None:
    spec = dict(render().one("Deployment", "gateway")["spec"]["template"]["spec"])
    assert said in " ".join(violations({**spec, **change}))


@EVERY_FILE
def test_only_the_operator_gets_a_token(file: str) -> None:
    rendered = render(file=file)
    with_token = {name for name, pod in rendered.pods() if pod["spec"]["automountServiceAccountToken"]}
    assert {name.rpartition("-")[2] for name in with_token} == {"operator"}
    assert not any(account["automountServiceAccountToken"] for account in rendered.of("ServiceAccount"))


@EVERY_FILE
def test_no_pod_is_told_of_services_by_variables(file: str) -> None:
    """They would set TIDEBOARD_GATEWAY_PORT to an address, which is no port."""
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in render(file=file).pods())


@EVERY_FILE
def test_every_pod_says_what_it_asks_for_and_what_memory_it_may_use(file: str) -> None:
    for name, container in containers(file):
        if name != "sidecar" and name != "first":  # the values' own
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name


@EVERY_FILE
def test_no_variable_is_set_twice(file: str) -> None:
    for name, container in containers(file):
        names = [item["name"] for item in container.get("env", ())]
        assert len(names) == len(set(names)), name


@pytest.mark.parametrize("component", OURS)
def test_ours_are_asked_whether_they_live_and_whether_they_are_ready(component: str) -> None:
    [container] = [found for name, found in containers("defaults-values.yaml") if name == component]
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe: what["path"] for probe, what in asked.items()} == {
        "startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"
    }  # fmt: skip
    [admin] = [port["containerPort"] for port in container["ports"] if port["name"] == "admin"]
    assert {what["port"] for what in asked.values()} == {"admin"}
    assert admin == 9100


def test_probes_of_values_take_the_place_of_the_charts() -> None:
    own = {"exec": {"command": ["true"]}, "periodSeconds": 60}
    probe = render({"gateway": {"livenessProbe": own}}).container("Deployment", "gateway")["livenessProbe"]
    assert (probe["exec"], probe["periodSeconds"], "httpGet" in probe) == (own["exec"], 60, False)


def test_fixed_users_can_be_taken_out_for_openshift() -> None:
    spec = render({"podSecurityContext": dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))})
    context = spec.one("Deployment", "gateway")["spec"]["template"]["spec"]["securityContext"]
    assert context == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroupChangePolicy": "OnRootMismatch",
    }


def test_a_components_own_context_adds_to_everybodys() -> None:
    spec = render(file="maximal-values.yaml").of("Deployment")
    [ingestor] = [found for found in spec if found["metadata"]["name"] == "boards-ingestor"]
    context = ingestor["spec"]["template"]["spec"]["securityContext"]
    assert (context["fsGroup"], context["runAsUser"]) == (2000, 10001)


@pytest.mark.parametrize("component", ["ingestor", "gateway"])
def test_who_serves_others_goes_on_until_everybody_has_heard_and_a_new_pod_is_there_first(component: str) -> None:
    found = render().one("Deployment", component)["spec"]
    assert found["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert found["minReadySeconds"] >= 5
    assert found["template"]["spec"]["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}


@pytest.mark.parametrize(
    ("kind", "component", "key", "other"),
    [("Deployment", "gateway", "strategy", "Recreate"), ("DaemonSet", "collector", "updateStrategy", "OnDelete")],
)
def test_who_does_not_roll_is_told_nothing_of_rolling(kind: str, component: str, key: str, other: str) -> None:
    """An API server refuses both at once, and the defaults would bring the one."""
    assert "rollingUpdate" in render().one(kind, component)["spec"][key]
    found = render({component: {"strategy": {"type": other}}}).one(kind, component)["spec"]
    assert found[key] == {"type": other}


@pytest.mark.parametrize(
    ("drain", "grace"), [({}, 75), ({"seconds": 300, "preStopSeconds": 20}, 330), ({"preStopSeconds": 0}, 70)]
)
def test_a_gateway_has_the_time_to_hand_its_viewers_over(drain: dict[str, int], grace: int) -> None:
    rendered = render({"gateway": {"drain": drain}})
    spec = rendered.one("Deployment", "gateway")["spec"]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == grace
    environ = rendered.environ("Deployment", "gateway")
    assert int(environ["TIDEBOARD_GATEWAY_DRAIN_DEADLINE"]) + 10 <= grace
    assert ("lifecycle" in spec["template"]["spec"]["containers"][0]) == (drain.get("preStopSeconds") != 0)


@pytest.mark.parametrize(
    ("gateway", "notice"),
    [
        ({}, 0.0),
        ({"drain": {"preStopSeconds": 0}}, 5.0),
        ({"lifecycle": {"postStart": {"exec": {"command": ["true"]}}}}, 5.0),
        ({"drain": {"preStopSeconds": 0, "seconds": 3}, "env": {"TIDEBOARD_GATEWAY_DRAIN_NOTICE": 2}}, 2.0),
    ],
)
def test_balancers_hear_that_a_gateway_leaves_from_its_pre_stop_or_from_itself(gateway: dict[str, Any], notice: float) -> None:
    environ = render({"gateway": gateway}).environ("Deployment", "gateway")
    assert load(LeavingSettings, environ).notice_s == notice


@pytest.mark.parametrize(
    ("gateway", "least"),
    [
        ({}, 20 * (75 + 10)),
        ({"autoscaling": {"mode": "none"}, "replicaCount": 2}, 600),
        ({"autoscaling": {"mode": "none"}, "replicaCount": 50}, 50 * 85),
    ],
)
def test_a_rollout_may_take_as_long_as_its_pods_take_one_after_the_other(gateway: dict[str, Any], least: int) -> None:
    assert render({"gateway": gateway}).one("Deployment", "gateway")["spec"]["progressDeadlineSeconds"] == least


@pytest.mark.parametrize("mode", ["operator", "hpa", "none"])
def test_only_in_mode_none_does_the_chart_say_how_many_gateways(mode: str) -> None:
    rendered = render({"gateway": {"autoscaling": {"mode": mode}, "replicaCount": 3}})
    assert rendered.one("Deployment", "gateway")["spec"].get("replicas") == (3 if mode == "none" else None)
    assert ("gateway" in rendered.names("HorizontalPodAutoscaler")) == (mode == "hpa")


def test_an_autoscaled_ingestor_is_not_told_how_many() -> None:
    rendered = render({"ingestor": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in rendered.one("Deployment", "ingestor")["spec"]
    assert rendered.names("HorizontalPodAutoscaler") == {"ingestor"}
    assert render().one("Deployment", "ingestor")["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("component", "kind", "change"),
    [
        ("gateway", "Deployment", {"gateway": {"env": {"TIDEBOARD_GATEWAY_ACCEPTS": 100}}}),
        ("kafka", "StatefulSet", {"kafka": {"config": {"num.io.threads": 2}}}),
        ("redis", "StatefulSet", {"redis": {"maxMemory": "100mb"}}),
    ],
)
def test_another_configuration_means_other_pods_of_that_component_only(component: str, kind: str, change: Any) -> None:
    def checksums(values: Any) -> dict[str, str]:
        return {name: pod["metadata"]["annotations"]["checksum/config"] for name, pod in render(values).pods() if "kind" not in pod}  # fmt: skip

    before, after = checksums({}), checksums(change)
    assert {name for name in before if before[name] != after[name]} == {f"{kind} demo-tideboard-{component}"}


def test_pods_are_spread_over_zones_and_nodes_unless_values_say_how() -> None:
    for component, kind in (("gateway", "Deployment"), ("aggregator", "StatefulSet")):
        spread = render().one(kind, component)["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [(rule["topologyKey"], rule["whenUnsatisfiable"]) for rule in spread] == [
            ("topology.kubernetes.io/zone", "ScheduleAnyway"),
            ("kubernetes.io/hostname", "ScheduleAnyway"),
        ]
    off = render({"defaultTopologySpread": False})
    assert "topologySpreadConstraints" not in off.one("Deployment", "gateway")["spec"]["template"]["spec"]


def test_a_collector_names_its_node() -> None:
    [host] = [
        item for item in render().container("DaemonSet", "collector")["env"] if item["name"] == "TIDEBOARD_COLLECTOR_HOST"
    ]
    assert host["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}


def test_images_are_named_by_registry_tag_and_digest_as_values_say() -> None:
    maximal = dict(images("maximal-values.yaml"))
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    assert maximal["ingestor"] == f"registry.example/tideboard/tideboard@{digest}"
    assert maximal["gateway"] == "registry.example/tideboard/tideboard:9.9.9"
    assert maximal["kafka"] == "registry.example/apache/kafka:4.1.1"
    assert dict(images("defaults-values.yaml"))["redis"] == "docker.io/valkey/valkey:9.1.2"
    assert (
        render({"redis": {"image": {"digest": digest}}}).container("StatefulSet", "redis")["image"].endswith(f"valkey@{digest}")
    )


def test_secrets_to_pull_images_with_come_from_both_places() -> None:
    for _, pod in render(file="maximal-values.yaml").pods():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "from-global"}, {"name": "from-here"}]


def test_the_example_for_production_begins_with_three_of_what_serves_others() -> None:
    """Without `replicas` and an autoscaler Kubernetes begins with one."""
    rendered = render(file="values-production.yaml")
    least = {
        found["spec"]["scaleTargetRef"]["name"]: found["spec"]["minReplicas"]
        for found in rendered.of("HorizontalPodAutoscaler")
    }
    for name in ("ingestor", "gateway"):
        found = rendered.one("Deployment", name)
        assert least.get(found["metadata"]["name"], found["spec"].get("replicas", 1)) >= 3, name
    assert rendered.one("StatefulSet", "aggregator")["spec"]["replicas"] >= 3


def test_the_example_for_production_says_how_to_make_every_secret_that_pods_name() -> None:
    """`helm test` among them: a pod waits for ever for a Secret that is not there."""
    made = set(re.findall(r"create secret generic (\S+)", FILES["values-production.yaml"].read_text(encoding="utf-8")))
    pods = [pod["spec"] for _, pod in render(file="values-production.yaml").pods()]
    sources = [source for pod in pods for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    assert {source["secret"]["name"] for source in sources if "secret" in source} == made


def test_the_example_for_production_is_monitored() -> None:
    rendered = render(file="values-production.yaml")
    assert rendered.of("ServiceMonitor")
    assert rendered.of("PrometheusRule")


def containers(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, pod in render(file=file).pods():
        for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
            yield container["name"], container


def images(file: str) -> Iterator[tuple[str, str]]:
    for name, container in containers(file):
        yield name, container["image"]


def test_everything_lies_in_the_releases_namespace() -> None:
    scoped = {found["metadata"].get("namespace") for found in render().objects if found["kind"] != "CustomResourceDefinition"}
    assert scoped == {NAMESPACE}
