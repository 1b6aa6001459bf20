"""What settings of the two roads mean, and which are refused."""

from pathlib import Path

import pytest

from services.runtime.settings import SettingsError, load
from services.transport.settings import KafkaSettings, RedisAddress, RedisSettings, read_secret, redis_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", RedisAddress((("cache", 6379),), "", 0, False, "", "")),
        ("redis://[::1]:7000/3", RedisAddress((("::1", 7000),), "", 3, False, "", "")),
        ("rediss://me:p%40ss@cache:6380/1", RedisAddress((("cache", 6380),), "", 1, True, "me", "p@ss")),
        ("redis+sentinel://:pw@a,b:7,c:8/main", RedisAddress((("a", 26379), ("b", 7), ("c", 8)), "main", 0, False, "", "pw")),
        ("rediss+sentinel://a/main/2", RedisAddress((("a", 26379),), "main", 2, True, "", "")),
        (
            "redis+cluster://me:pw@a,b:7",
            RedisAddress((("a", 6379), ("b", 7)), "", 0, False, "me", "pw", cluster=True),
        ),
        ("rediss+cluster://a:7000/0", RedisAddress((("a", 7000),), "", 0, True, "", "", cluster=True)),
        ("unix:///run/valkey.sock", RedisAddress((), "", 0, False, "", "", "/run/valkey.sock")),
    ],
)
def test_a_redis_url_says_where_and_who(url: str, address: RedisAddress) -> None:
    assert redis_address(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://secret@cache", "'http' is not one of"),
        ("redis://:secret@a,b", "several hosts are Sentinels"),
        ("redis://:secret@a,b", "servers of a Cluster: redis"),
        ("redis+sentinel://:secret@a,b", "service's name"),
        ("redis+cluster://:secret@a,b/2", "no databases but 0, and the URL ends with /2"),
        ("redis+cluster://:secret@a,b/main", "not a number"),
        ("redis://:secret@cache:port", "not a number"),
        ("redis://:secret@cache/main", "not a number"),
        ("redis://:secret@cache?ssl_cert_reqs=none", "not read"),
    ],
)
def test_a_redis_url_that_means_nothing_is_refused_without_repeating_its_password(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as told:
        load(RedisSettings, {"REDIS_URL": url})
    assert "secret" not in str(told.value)


def test_a_user_of_kafka_needs_a_password_and_a_certificate_its_key() -> None:
    with pytest.raises(SettingsError, match="TIDEBOARD_KAFKA_PASSWORD"):
        load(KafkaSettings, {"TIDEBOARD_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "TIDEBOARD_KAFKA_USERNAME": "me"})
    with pytest.raises(SettingsError, match="come together"):
        load(KafkaSettings, {"TIDEBOARD_KAFKA_CERTIFICATE_FILE": "ours.pem"})
    with pytest.raises(SettingsError, match="come together"):
        load(RedisSettings, {"TIDEBOARD_REDIS_KEY_FILE": "ours.key"})


def test_secrets_are_not_in_the_repr_of_settings() -> None:
    found = [
        KafkaSettings(security_protocol="SASL_SSL", username="me", password="secret"),
        RedisSettings(url="redis://:secret@cache", password="secret", sentinel_password="secret"),
        redis_address("redis://:secret@cache"),
    ]
    assert not [item for item in found if "secret" in repr(item)]


def test_a_file_with_a_password_may_end_with_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(" pass word\n")
    assert read_secret("other", str(tmp_path / "file")) == " pass word"
    assert read_secret("other", "") == "other"
