"""What services are told, read by the services' own settings classes: each value is one that they take, and means what was asked for."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from services.aggregator.settings import AggregatorSettings
from services.collector.settings import CollectorSettings
from services.gateway.settings import AccessSettings, GatewaySettings, LeavingSettings, LimitSettings
from services.ingestor.settings import IngestorSettings
from services.local.catalog import sections
from services.operator.settings import OperatorSettings
from services.runtime.admin import AdminSettings
from services.runtime.logs import LogSettings
from services.runtime.settings import SettingsError, describe, load
from services.transport.settings import KafkaSettings, RedisSettings, redis_address
from tests.chart.rendering import FILES, render
from tools.steps import ROOT

PAGE = ROOT / "docs" / "install.md"
OURS = {
    "ingestor": "Deployment",
    "aggregator": "StatefulSet",
    "gateway": "Deployment",
    "collector": "DaemonSet",
    "watcher": "Deployment",
}
READ_BY: Mapping[str, tuple[type[Any], ...]] = {
    "ingestor": (IngestorSettings, KafkaSettings, RedisSettings),
    "aggregator": (AggregatorSettings, KafkaSettings, RedisSettings),
    "gateway": (GatewaySettings, AccessSettings, LeavingSettings, LimitSettings, RedisSettings),
    "collector": (CollectorSettings,),
    "watcher": (CollectorSettings,),
}
PREFIXES = ("TIDEBOARD_", "KAFKA_", "REDIS_")


@pytest.mark.parametrize("component", OURS)
@pytest.mark.parametrize("file", sorted(set(FILES) - {"maximal-values.yaml"}))
def test_every_setting_is_one_that_the_service_knows_and_takes(component: str, file: str) -> None:
    environ = render(file=file).environ(OURS[component], component)
    classes = (AdminSettings, LogSettings, *READ_BY[component])
    assert all(load(cls, environ) for cls in classes)
    known = {described.env for cls in classes for described, _ in describe(cls)}
    assert {name for name in environ if name.startswith(PREFIXES)} <= known


def test_the_operators_settings_are_known_too() -> None:
    known = {described.env for section in sections() for cls in section.classes for described, _ in describe(cls)}
    environ = render().environ("Deployment", "operator")
    assert {name for name in environ if name.startswith(PREFIXES)} <= known


def test_a_folder_of_dashboards_needs_the_name_of_its_owner() -> None:
    with pytest.raises(SettingsError, match="TIDEBOARD_OPERATOR_SHIPPED_OWNER"):
        load(OperatorSettings, {"TIDEBOARD_OPERATOR_SHIPPED": "/a"})
    assert load(OperatorSettings, render().environ("Deployment", "operator")).shipped


@pytest.mark.parametrize("component", ["ingestor", "gateway"])
def test_who_may_read_metrics_gives_no_orders(component: str) -> None:
    admin = load(AdminSettings, render().environ(OURS[component], component))
    assert admin.orders_port not in (0, admin.port)


def test_pods_can_be_reached() -> None:
    rendered = render()
    for component, kind in OURS.items():
        admin = load(AdminSettings, rendered.environ(kind, component))
        assert (admin.host, admin.port) == ("0.0.0.0", 9100)
    assert load(GatewaySettings, rendered.environ("Deployment", "gateway")).host == "0.0.0.0"
    assert load(IngestorSettings, render({"listenAddress": "::"}).environ("Deployment", "ingestor")).host == "::"


def test_the_built_in_servers_are_named_by_their_services() -> None:
    rendered = render()
    environ = rendered.environ("StatefulSet", "aggregator")
    assert environ["KAFKA_BOOTSTRAP_SERVERS"] == "demo-tideboard-kafka.boards.svc.cluster.local:9092"
    assert environ["REDIS_URL"] == "redis://demo-tideboard-redis.boards.svc.cluster.local:6379/0"
    assert {"kafka", "redis"} <= rendered.names("Service")
    properties = rendered.one("ConfigMap", "kafka")["data"]["server.properties"]
    assert f"advertised.listeners=PLAINTEXT://{environ['KAFKA_BOOTSTRAP_SERVERS']}\n" in properties
    url = rendered.environ("DaemonSet", "collector")["TIDEBOARD_COLLECTOR_URL"]
    assert url == "http://demo-tideboard-ingestor.boards.svc.cluster.local:8081/api/v1/samples"


def test_the_watcher_reads_every_pod_of_ours_by_a_service_that_leads_to_each() -> None:
    rendered = render({"aggregator": {"enabled": False}})
    found = load(CollectorSettings, rendered.environ("Deployment", "watcher"))
    assert not found.machine
    targets = dict(target.split("=", 1) for target in found.scrape)
    assert set(targets) == {"ingestor", "gateway", "operator", "collector"}
    for component, url in targets.items():
        service = rendered.one("Service", f"{component}-headless")
        assert service["spec"]["clusterIP"] == "None"
        assert url == f"dns+http://{service['metadata']['name']}.boards.svc.cluster.local:9100/metrics"
        assert 9100 in [port["port"] for port in service["spec"]["ports"]]


def test_the_clusters_domain_is_in_every_address() -> None:
    assert ".svc.corp.example:" in render({"clusterDomain": "corp.example"}).environ("Deployment", "ingestor")["REDIS_URL"]


def test_ones_own_servers_with_everything() -> None:
    rendered = render(file="external-everything-values.yaml")
    environ = rendered.environ("StatefulSet", "aggregator")
    kafka, redis = load(KafkaSettings, environ), load(RedisSettings, environ)
    assert (kafka.security_protocol, kafka.sasl_mechanism, kafka.username) == ("SASL_SSL", "SCRAM-SHA-256", "boards")
    assert (kafka.bootstrap_servers, kafka.check_hostname) == (
        "broker-0.example:9093,broker-1.example:9094,[fd00::2]:9095",
        False,
    )
    address = redis_address(redis.url)
    assert (address.service, address.db, address.tls) == ("primary", 3, True)
    assert address.hosts == (("sentinel-0.example", 26379), ("sentinel-1.example", 26380))
    assert (redis.username, redis.sentinel_username) == ("boards", "watcher")
    files = mounted(rendered.one("StatefulSet", "aggregator")["spec"]["template"]["spec"])
    assert files == {
        "/etc/tideboard/kafka/password": ("kafka-user", "pass"),
        "/etc/tideboard/kafka/ca.crt": ("kafka-ca", "root.pem"),
        "/etc/tideboard/kafka/tls.crt": ("kafka-client", "tls.crt"),
        "/etc/tideboard/kafka/tls.key": ("kafka-client", "tls.key"),
        "/etc/tideboard/redis/password": ("redis-user", "pass"),
        "/etc/tideboard/redis/sentinel-password": ("sentinel-user", "pass"),
        "/etc/tideboard/redis/ca.crt": ("redis-ca", "ca.crt"),
        "/etc/tideboard/redis/tls.crt": ("redis-client", "tls.crt"),
        "/etc/tideboard/redis/tls.key": ("redis-client", "tls.key"),
    }
    said = {kafka.password_file, kafka.ca_file, kafka.certificate_file, kafka.key_file, redis.password_file}
    said |= {redis.sentinel_password_file, redis.ca_file, redis.certificate_file, redis.key_file}
    assert said == set(files)
    assert not rendered.of("Secret")  # all are somebody else's


def test_a_redis_cluster_of_ones_own() -> None:
    rendered = render(file="redis-cluster-values.yaml")
    for component in ("ingestor", "aggregator", "gateway"):
        redis = load(RedisSettings, rendered.environ(OURS[component], component))
        assert (redis.username, redis.password_file) == ("boards", "/etc/tideboard/redis/password")
        address = redis_address(redis.url)
        assert (address.cluster, address.tls, address.db) == (True, True, 0)
        assert address.hosts == (("redis-0.example", 6380), ("fd00::2", 6381))


@pytest.mark.parametrize(
    ("sasl", "tls", "protocol"),
    [(False, False, "PLAINTEXT"), (False, True, "SSL"), (True, False, "SASL_PLAINTEXT"), (True, True, "SASL_SSL")],
)
def test_how_brokers_are_spoken_to(sasl: bool, tls: bool, protocol: str) -> None:
    user = {"mechanism": "PLAIN", "username": "a", "existingSecret": "b"} if sasl else {}
    own = {"brokers": ["broker:9092"], "sasl": user, "tls": {"enabled": tls}}
    environ = render({"kafka": {"enabled": False}, "externalKafka": own}).environ("Deployment", "ingestor")
    assert load(KafkaSettings, environ).security_protocol == protocol


def test_a_password_in_the_values_becomes_a_secret_and_is_nowhere_else() -> None:
    own = {
        "kafka": {"enabled": False},
        "externalKafka": {"brokers": ["b:9092"], "sasl": {"mechanism": "PLAIN", "username": "a", "password": "hush-1"}},
        "redis": {"enabled": False},
        "externalRedis": {"sentinel": {"hosts": ["s:26379"], "service": "p", "password": "hush-3"}, "password": "hush-2"},
    }
    rendered = render(own)
    assert rendered.names("Secret") >= {"kafka-password", "redis-password", "sentinel-password"}
    assert "hush" not in str([found for found in rendered.objects if found["kind"] != "Secret"])
    secrets = {secret for secret, _ in mounted(rendered.one("Deployment", "ingestor")["spec"]["template"]["spec"]).values()}
    assert secrets == {f"demo-tideboard-{name}-password" for name in ("kafka", "redis", "sentinel")}


def test_a_gateway_needs_nothing_of_kafka() -> None:
    environ = render(file="external-everything-values.yaml").environ("Deployment", "gateway")
    assert not [name for name in environ if "KAFKA" in name]


def test_the_built_in_redis_can_ask_for_a_password() -> None:
    rendered = render({"redis": {"auth": {"existingSecret": "hush"}}})
    spec = rendered.one("Deployment", "gateway")["spec"]["template"]["spec"]
    assert mounted(spec)["/etc/tideboard/redis/password"] == ("hush", "password")
    assert load(RedisSettings, rendered.environ("Deployment", "gateway")).password_file == "/etc/tideboard/redis/password"


def test_the_built_in_redis_evicts_nothing_and_keeps_a_log() -> None:
    lines = render().one("ConfigMap", "redis")["data"]["valkey.conf"].splitlines()
    assert {"maxmemory-policy noeviction", "appendonly yes", "appendfsync everysec", "maxmemory 640mb"} <= set(lines)


def test_tokens_are_asked_for_with_a_secret_that_is_made() -> None:
    rendered = render()
    access = load(AccessSettings, rendered.environ("Deployment", "gateway"))
    assert (access.auth, access.secret_file) == ("jwt", "/etc/tideboard/tokens/secret")
    [secret] = rendered.of("Secret")
    assert secret["metadata"]["name"] == "demo-tideboard-gateway-tokens"
    assert len(secret["data"]["secret"]) == 64  # 48 characters in base64


@pytest.mark.parametrize("auth", [{"jwks": "https://id.example/keys"}, {"keySecret": "keys"}, {"existingSecret": "mine"}])
def test_no_secret_is_made_where_keys_are_named(auth: dict[str, str]) -> None:
    rendered = render({"gateway": {"auth": auth}})
    assert not rendered.of("Secret")
    access = load(AccessSettings, rendered.environ("Deployment", "gateway"))
    assert bool(access.secret_file) == ("existingSecret" in auth)
    assert bool(access.key_file) == ("keySecret" in auth)
    assert access.jwks == auth.get("jwks", "")


def test_nobody_is_asked_where_that_is_chosen() -> None:
    rendered = render({"gateway": {"auth": {"mode": "none"}}})
    assert load(AccessSettings, rendered.environ("Deployment", "gateway")).auth == "off"
    assert not rendered.of("Secret")


def test_large_numbers_are_written_as_they_are_read() -> None:
    """Helm reads numbers of values files as floats, and would write 1.6777216e+07."""
    environ = render(
        {"ingestor": {"env": {"TIDEBOARD_INGESTOR_MAX_BODY_BYTES": 16_777_216, "TIDEBOARD_INGESTOR_LINGER_MS": 2.5}}}
    )
    found = load(IngestorSettings, environ.environ("Deployment", "ingestor"))
    assert (found.max_body_bytes, found.linger_ms) == (16_777_216, 2.5)
    kafka = load(KafkaSettings, render({"topics": {"retentionHours": 8760}}).environ("Deployment", "ingestor"))
    assert kafka.retention_ms == 8760 * 3_600_000


def mounted(spec: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Files of secrets by path: secret and key."""
    places = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    return {
        f"{places[volume['name']]}/{item['path']}": (source["secret"]["name"], item["key"])
        for volume in spec["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        for item in source["secret"]["items"]
    }


@pytest.mark.parametrize("place", [0, 1])
def test_the_examples_of_the_page_use_every_key_of_the_secrets_that_they_make(place: int) -> None:
    section = PAGE.read_text().partition("\n### Kafka and Redis of your own\n")[2].partition("\n### ")[0]
    commands, values = re.findall(r"((?:^    kubectl [^\n]*\n)+)\n```yaml\n(.*?)```", section, re.MULTILINE | re.DOTALL)[place]
    made = set[tuple[str, str]]()
    for kind, name, rest in re.findall(r"create secret (\w+) (\S+) (.*)", commands):
        keys = ["tls.crt", "tls.key"] if kind == "tls" else re.findall(r"--from-\w+=([^=]+)=", rest)
        made |= {(name, key) for key in keys}
    rendered = render(yaml.safe_load(values))
    environ = rendered.environ("StatefulSet", "aggregator")
    assert load(KafkaSettings, environ).tls and load(RedisSettings, environ).password_file
    assert set(mounted(rendered.one("StatefulSet", "aggregator")["spec"]["template"]["spec"]).values()) == made
