"""What a person reads after an installation: how to open the wall, and what was chosen."""

from tests.chart.rendering import notes


def test_defaults_say_how_to_open_the_wall_and_that_the_servers_are_for_evaluation() -> None:
    said = notes()
    assert "kubectl -n boards port-forward service/demo-tideboard-gateway 8080:8080" in said
    assert "exec deployment/demo-tideboard-gateway -- python -m services token" in said
    assert said.count("FOR EVALUATION ONLY") == 2
    assert "helm test demo -n boards" in said
    assert "{{" not in said


def test_that_nobody_is_asked_is_said_loudly() -> None:
    said = notes(file="values-local.yaml")
    assert "ARE NOT ASKED FOR ANYTHING" in said
    assert "services token" not in said
    assert "OPEN: there are no policies" in said


def test_ones_own_servers_and_hosts_are_named_and_no_password_is() -> None:
    said = notes({"externalRedis": {"password": "hush", "existingSecret": ""}}, file="values-production.yaml")
    assert "wall.example" in said
    assert "kafka-0.kafka.example:9093" in said
    assert "rediss+sentinel://sentinel-0.redis.example:26379" in said
    assert "EVALUATION" not in said
    assert "hush" not in said
    ingress = {"gateway": {"ingress": {"enabled": True, "hosts": [{"host": "wall.example"}], "tls": [{"secretName": "a"}]}}}
    assert "https://wall.example/" in notes(ingress)
