"""Values that cannot be meant: each is refused with one sentence, before anything is installed."""

from typing import Any

import pytest

from tests.chart.rendering import WORKLOADS, refusal, render, rendered_as

NO_KAFKA = {"kafka": {"enabled": False}}
NO_REDIS = {"redis": {"enabled": False}}
CLUSTER = {"enabled": True, "hosts": ["c:6379"]}


def own_kafka(**more: Any) -> dict[str, Any]:
    return {**NO_KAFKA, "externalKafka": {"brokers": ["broker:9092"], **more}}


def own_redis(**more: Any) -> dict[str, Any]:
    return {**NO_REDIS, "externalRedis": more}


def exposed(host: str) -> dict[str, Any]:
    return {"gateway": {"ingress": {"enabled": True, "hosts": [{"host": host}]}}}


def keys_at(jwks: str) -> dict[str, Any]:
    return {"gateway": {"auth": {"jwks": jwks}}}


def memory(component: str, limit: Any, **more: Any) -> dict[str, Any]:
    return {component: {**more, "resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": limit}}}}


def rolling(component: str, **said: Any) -> dict[str, Any]:
    return {component: {"strategy": {"rollingUpdate": said}}}


def budget(component: str, said: Any, **more: Any) -> dict[str, Any]:
    return {component: {**more, "podDisruptionBudget": said}}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (NO_KAFKA, "No Kafka is chosen: set externalKafka.brokers"),
        ({"externalKafka": {"brokers": ["broker:9092"]}}, "kafka.enabled and externalKafka.brokers are both set"),
        (NO_REDIS, "No Redis is chosen: set externalRedis.host"),
        ({"externalRedis": {"host": "redis"}}, "redis.enabled and externalRedis are both set"),
        (own_kafka(brokers=["kafka.example"]), '"kafka.example" is not host:port'),
        (own_kafka(brokers=["kafka://kafka.example:9092"]), "is not host:port"),
        (own_kafka(sasl={"mechanism": "PLAIN"}), "which needs externalKafka.sasl.username"),
        (own_kafka(sasl={"mechanism": "PLAIN", "username": "a"}), "which needs a password"),
        (own_kafka(sasl={"username": "a", "existingSecret": "b"}), "set externalKafka.sasl.mechanism"),
        ({"topics": {"replication": 3}}, "the built-in Kafka is one broker"),
        (own_redis(cluster={"enabled": True}), "which needs externalRedis.cluster.hosts: some of its servers"),
        (own_redis(cluster={"hosts": ["c:6379"]}), "which needs externalRedis.cluster.enabled=true"),
        (own_redis(host="redis", cluster=CLUSTER), "externalRedis.host and externalRedis.cluster are both set"),
        (
            own_redis(sentinel={"hosts": ["s:26379"], "service": "p"}, cluster=CLUSTER),
            "externalRedis.sentinel.hosts and externalRedis.cluster are both set",
        ),
        (own_redis(database=3, cluster=CLUSTER), "externalRedis.database is 3, and a Redis Cluster has none but 0"),
        (own_redis(cluster={"enabled": True, "hosts": ["redis://c:6379"]}), '"redis://c:6379" is not host:port'),
        ({"externalRedis": {"cluster": CLUSTER}}, "redis.enabled and externalRedis are both set"),
        (own_redis(host="redis", sentinel={"hosts": ["s:26379"]}), "name the one server, or the Sentinels"),
        (own_redis(sentinel={"hosts": ["s:26379"]}), "which needs externalRedis.sentinel.service"),
        (own_redis(host="redis://user:password@redis:6379"), "is more than a host"),
        ({"gateway": {"terminationGracePeriodSeconds": 30}}, "set it to that at least, or leave it out"),
        (
            {"gateway": {"drain": {"preStopSeconds": 0, "seconds": 5}}},
            "gateway.drain.seconds is 5, and without the chart's own preStop the first 5 of them are for balancers",
        ),
        ({"gateway": {"auth": {"mode": "none", "jwks": "https://id.example"}}}, "set gateway.auth.mode=jwt to use them"),
        (keys_at("http://id.example:8080/keys"), "gateway.auth.jwks is http://id.example, and is to begin with https://"),
        (keys_at("http://localhost@id.example/keys"), "gateway.auth.jwks is http://id.example"),
        (keys_at("ftp://id.example/keys"), "gateway.auth.jwks is ftp://id.example"),
        ({"gateway": {"ingress": {"enabled": True}}}, "which needs gateway.ingress.hosts"),
        ({"gateway": {"httpRoute": {"enabled": True}}}, "which needs gateway.httpRoute.parentRefs"),
        ({"gateway": {"env": {"TIDEBOARD_GATEWAY_PORT": 80}}}, "gateway.env sets TIDEBOARD_GATEWAY_PORT, which the chart sets"),
        ({"ingestor": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}, "A is set twice"),
        (
            budget("ingestor", {"minAvailable": 2}),
            "minAvailable is 2, and there may be 2 in all (ingestor.replicaCount), so that no node",
        ),
        (budget("ingestor", {"minAvailable": 5}), "minAvailable is 5, and there may be 2 in all (ingestor.replicaCount)"),
        (
            budget("gateway", {"minAvailable": 1}),
            "there may be 1 in all (with gateway.autoscaling.mode=operator a release begins with one)",
        ),
        (budget("gateway", {"minAvailable": 2}, autoscaling={"mode": "hpa"}), "2 in all (gateway.autoscaling.minReplicas)"),
        (
            budget("ingestor", {"minAvailable": "51%"}, autoscaling={"enabled": True}),
            "2 in all (ingestor.autoscaling.minReplicas)",
        ),
        (budget("aggregator", {"minAvailable": "100%"}, replicaCount=9), "minAvailable is 100%, and there may be 9 in all"),
        (budget("kafka", {"enabled": True, "minAvailable": 1}), "there may be 1 in all (it is one pod)"),
        (budget("gateway", {"maxUnavailable": 0}), "maxUnavailable is 0, so that no node could ever be drained"),
        (budget("gateway", {"maxUnavailable": "0%"}), "maxUnavailable is 0%, so that no node could ever be drained"),
        (budget("gateway", {"maxUnavailable": None}), 'maxUnavailable is "", and is to be a number of pods'),
        (budget("gateway", {"minAvailable": "half"}), 'minAvailable is "half", and is to be a number of pods, or a share'),
        (budget("collector", {"enabled": True}), "drains leave pods of DaemonSets alone"),
        ({"ingestor": {"enabled": False}}, "collector.enabled needs ingestor.enabled"),
        ({"operator": {"serviceAccount": {"create": False}}}, "every pod of the namespace would get the operator's rights"),
        ({"fullnameOverride": "My_Boards"}, 'Names would begin with "My_Boards"'),
        ({"nameOverride": "my boards"}, 'nameOverride is "my boards"'),
        ({"commonLabels": {"team": "web team"}}, 'commonLabels: team is "web team"'),
        ({"gateway": {"podLabels": {"team": "x" * 64}}}, "gateway.podLabels: team is"),
        ({"image": {"repository": "tideboard/tideboard:1.2"}}, "a tag goes into image.tag"),
        ({"kafka": {"image": {"tag": "4.1@sha256:00"}}}, "a digest goes into kafka.image.digest"),
        ({"image": {"registry": "https://registry.example"}}, "without https://"),
        ({"global": {"imageRegistry": "registry.example/"}}, "global.imageRegistry is"),
        ({"gateway": {"resources": {"requests": {"cpu": "half"}}}}, 'gateway.resources.requests.cpu is "half"'),
        (
            {"gateway": {"resources": {"limits": {"memory": "64Mi"}}}},
            "less than the 128Mi of gateway.resources.requests.memory",
        ),
        ({"aggregator": {"resources": {"limits": {"cpu": 0.1}}}}, "less than the 200m of aggregator.resources.requests.cpu"),
        (
            memory("kafka", "500Mi"),
            "kafka.heap is 512m, and kafka.resources.limits.memory is 500Mi, so that it would be killed",
        ),
        (memory("kafka", "512Mi"), "kafka.heap is 512m, and kafka.resources.limits.memory is 512Mi"),
        (memory("kafka", "2G", heap="2g"), "kafka.heap is 2g, and kafka.resources.limits.memory is 2G"),
        (memory("kafka", "1Gi", heap="1Gi"), 'kafka.heap is "1Gi", and is to be 512m or 2g, as Java has it'),
        (memory("redis", "640Mi"), "redis.maxMemory is 640mb, and redis.resources.limits.memory is 640Mi"),
        (memory("redis", 500_000_000), "redis.maxMemory is 640mb, and redis.resources.limits.memory is 500000000"),
        (memory("redis", "1Gi", maxMemory="640Mi"), 'redis.maxMemory is "640Mi", and is to be 640mb or 2gb, as Valkey has it'),
        (memory("redis", "1Gi", maxMemory="0"), "redis.maxMemory is 0, and redis.resources.limits.memory is 1Gi"),
        (memory("redis", "1Gi", config={"maxmemory": 2_000_000_000}), "redis.config.maxmemory is 2000000000, and"),
        (
            {"gateway": {"strategy": {"type": "OnDelete"}}},
            'gateway.strategy.type is "OnDelete", and is to be RollingUpdate or Recreate',
        ),
        (
            {"redis": {"strategy": {"type": "Recreate"}}},
            'redis.strategy.type is "Recreate", and is to be RollingUpdate or OnDelete',
        ),
        ({"kafka": {"persistence": {"size": "10 GB"}}}, 'kafka.persistence.size is "10 GB"'),
        (
            {"ingestor": {"terminationGracePeriodSeconds": 4}},
            "ingestor.terminationGracePeriodSeconds is 4, and its preStop sleeps for 5 s",
        ),
        ({"ingestor": {"terminationGracePeriodSeconds": 9, "preStopSeconds": 10}}, "its preStop sleeps for 10 s"),
        (
            {"aggregator": {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}},
            "aggregator.terminationGracePeriodSeconds is 30, and its preStop sleeps for 31 s",
        ),
        (
            {"gateway": {"progressDeadlineSeconds": 10}},
            "gateway.minReadySeconds is 10, and a rollout counts as failed after 10 s without progress (gateway.progressDeadlineSeconds)",
        ),
        (
            {"gateway": {"minReadySeconds": 600, "replicaCount": 0, "autoscaling": {"mode": "none"}}},
            "gateway.minReadySeconds is 600",
        ),
        ({"ingestor": {"minReadySeconds": 600}}, "ingestor.minReadySeconds is 600, and a rollout counts as failed after 600 s"),
        ({"operator": {"minReadySeconds": 900}}, "operator.minReadySeconds is 900"),
        (rolling("gateway", maxSurge=0), "gateway.strategy.rollingUpdate.maxSurge and maxUnavailable are both 0"),
        (rolling("ingestor", maxSurge="0%"), "ingestor.strategy.rollingUpdate.maxSurge and maxUnavailable are both 0"),
        (rolling("collector", maxUnavailable=0), "collector.strategy.rollingUpdate.maxSurge and maxUnavailable are both 0"),
        (rolling("collector", maxSurge=1), "a DaemonSet takes one of them"),
        (rolling("gateway", maxSurge="one"), 'gateway.strategy.rollingUpdate.maxSurge is "one", and is to be a number of pods'),
        ({"commonLabels": {"my team": "web"}}, 'commonLabels: "my team" is to be a name of up to 63 letters'),
        ({"commonLabels": {"example.com/a/b": "web"}}, 'commonLabels: "example.com/a/b" is to be a name'),
        ({"gateway": {"podLabels": {"x" * 64: "web"}}}, "gateway.podLabels: "),
        ({"gateway": {"podAnnotations": {"my team": "web"}}}, 'gateway.podAnnotations: "my team" is to be a name'),
        ({"commonAnnotations": {"-a": "web"}}, 'commonAnnotations: "-a" is to be a name'),
        ({"redis": {"nodeSelector": {"my pool": "web"}}}, 'redis.nodeSelector: "my pool" is to be a name'),
        (exposed("https://wall.example"), "is to be a host alone"),
        ({"gateway": {"httpRoute": {"hostnames": ["wall.example:8080"]}}}, "is to be a host alone"),
        ({"gateway": {"trustedProxies": ["10.0.0.0-10.0.0.9"]}}, "is to be a network"),
        ({"networkPolicy": {"apiServerCIDRs": ["10.0.0.1"]}}, "policies want networks: 10.0.0.1/32"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_one_sentence(values: dict[str, Any], sentence: str) -> None:
    said = refusal(values)
    assert sentence in said
    lines = [line for line in said.splitlines() if line and not line.startswith("Use --debug")]
    assert len(lines) == 1, said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replicas": 3}}, "replicas"),
        ({"gateway": {"replicaCount": "three"}}, "replicaCount"),
        ({"gateway": {"autoscaling": {"mode": "keda"}}}, "mode"),
        ({"externalKafka": {"sasl": {"mechanism": "GSSAPI"}}}, "mechanism"),
        ({"image": {"digest": "1234"}}, "digest"),
        ({"ingestor": {"env": ["A=1"]}}, "env"),
        ({"externalRedis": {"port": "6379"}}, "port"),
        ({"gateway": {"drain": {"seconds": 0}}}, "seconds"),
        ({"commonLabels": {"a": 1}}, "commonLabels"),
        ({"networkPolicy": {"dnsPorts": [0]}}, "dnsPorts"),
        ({"networkPolicy": {"dnsPorts": []}}, "dnsPorts"),  # a rule without ports would open all
        ({"networkPolicy": {"apiServerPorts": []}}, "apiServerPorts"),
        ({"networkPolicy": {"externalKafkaPorts": ["9093"]}}, "externalKafkaPorts"),
        ({"networkPolicy": {"externalRedisPorts": [0]}}, "externalRedisPorts"),
    ],
)
def test_names_and_types_that_are_wrong_are_refused_by_the_schema(values: dict[str, Any], said: str) -> None:
    sentence = refusal(values)
    assert "schema" in sentence
    assert said in sentence


@pytest.mark.parametrize(("values", "said"), [(NO_KAFKA, "No Kafka is chosen"), ({"gatway": {}}, "gatway")])
def test_helm_3_says_the_same(values: dict[str, Any], said: str) -> None:
    assert said in refusal(values, helm="helm3")


@pytest.mark.parametrize(
    "values",
    [
        {"gateway": {"resources": None}},
        {"gateway": {"resources": {"requests": {"cpu": 1, "memory": "0.5Gi"}, "limits": {"cpu": "1500m", "memory": "1e9"}}}},
        {"gateway": {"resources": {"requests": {"cpu": None}, "limits": {"memory": None}}}},
        {"gateway": {"trustedProxies": ["10.0.0.1", "10.0.0.0/8", "fd00::/8"]}},
        {"gateway": {"image": {"registry": "localhost:5000/mirror", "repository": "a__b/c-d.e", "tag": "v1_2.3-rc"}}},
        exposed("*.wall.example"),
        {"commonLabels": {"empty": "", "one": "1", "example.com/team": "web", "A_b.c-1": "x"}},
        {"commonAnnotations": {"example.com/team": "web team, and more"}},
        {"ingestor": {"terminationGracePeriodSeconds": 5, "minReadySeconds": 599}},
        {"ingestor": {"terminationGracePeriodSeconds": 4, "lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}},
        {"gateway": {"minReadySeconds": 700, "progressDeadlineSeconds": 701}, "aggregator": {"minReadySeconds": 900}},
        rolling("gateway", maxSurge=0, maxUnavailable="25%"),
        rolling("gateway", maxSurge=None),
        rolling("collector", maxSurge=1, maxUnavailable=0),
        {"gateway": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 0}}}},
        keys_at("HTTPS://id.example/keys"),
        keys_at("http://127.0.0.1:9000/keys"),
        keys_at("http://[::1]/keys"),
        keys_at("/etc/keys/set.json"),
        memory("kafka", "513Mi"),
        memory("kafka", None, heap="64G"),
        memory("redis", "1G", maxMemory="900MB"),
        memory("redis", "641Mi"),
        {"redis": {"resources": None}, "kafka": {"heap": "536870912"}},
        budget("gateway", {"minAvailable": 2}, replicaCount=2, autoscaling={"mode": "hpa", "minReplicas": 3}),
        budget("gateway", {"minAvailable": 1}, replicaCount=2, autoscaling={"mode": "none"}),
        budget("gateway", {"minAvailable": 0}),
        budget("aggregator", {"minAvailable": "50%"}),
        budget("ingestor", {"minAvailable": 1}, replicaCount=0),
        budget("watcher", {"enabled": True}),
    ],
)
def test_what_is_unusual_and_right_is_taken(values: dict[str, Any]) -> None:
    assert render(values)


def test_a_release_may_be_called_as_no_service_may() -> None:
    assert "set fullnameOverride" in refusal({}, name="my.boards")


@pytest.mark.parametrize(("name", "override"), [("true", ""), ("off", ""), ("1e3", "boards"), ("demo", "123")])
def test_a_release_may_be_called_as_no_text_is_in_yaml(name: str, override: str) -> None:
    """Labels are texts, and an API server refuses any other."""
    found = rendered_as(name, {"nameOverride": override, "fullnameOverride": "boards"})
    for each in found.objects:
        assert all(isinstance(value, str) for value in each["metadata"]["labels"].values()), each["metadata"]
    for each in found.of(*WORKLOADS):
        assert each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == name


def test_the_chart_can_be_a_part_of_another_one() -> None:
    assert render({"enabled": True, "global": {"imageRegistry": "registry.example", "somethingElse": {"of": "others"}}})
