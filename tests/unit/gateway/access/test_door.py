import tracemalloc
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import structlog

from services.gateway.access import limits
from services.gateway.access.door import NOBODY, DeniedError, Door, gathered
from services.gateway.access.keyring import Keyring
from services.gateway.access.origins import Origin
from services.gateway.access.tokens import EVERYTHING, Pass
from services.gateway.settings import AccessSettings, LimitSettings
from services.runtime.service import StartupError
from tests.tokens import SECRET, claims, token

ADA = Pass("ada", ("*",), 1e12)
EVE = Pass("eve", ("*",), 1e12)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def asking(tmp_path: Path, **settings: Any) -> Door:
    """A door that asks for tokens which are signed with our secret."""
    (tmp_path / "secret").write_bytes(SECRET)
    access = AccessSettings(auth="jwt", secret_file=str(tmp_path / "secret"), **settings)
    keyring = Keyring(access)
    await keyring.start()
    return Door(access, keyring=keyring)


def bearer(text: str) -> dict[str, list[str]]:
    return {"authorization": [f"Bearer {text}"]}


def denied(call: Any, *arguments: Any) -> DeniedError:
    with pytest.raises(DeniedError) as caught:
        call(*arguments)
    return caught.value


def test_by_default_nobody_is_asked() -> None:
    door = Door()
    assert not door.asks
    assert door.identify({}, "", Origin.none) is EVERYTHING
    assert denied(door.identify, {"origin": ["https://evil.example"]}, "", Origin.refused).status is HTTPStatus.FORBIDDEN


async def test_the_query_is_looked_at_only_where_a_setting_names_a_parameter(tmp_path: Path) -> None:
    held = token(claims("a"))
    door = await asking(tmp_path)
    assert denied(door.identify, {}, f"token={held}", Origin.none).status is HTTPStatus.UNAUTHORIZED
    door = await asking(tmp_path, query="token")
    assert door.identify({}, f"x=1&token={held}", Origin.none).subject == "ada"
    assert door.identify(bearer(held), "token=rubbish", Origin.none).subject == "ada"


async def test_a_cookie_counts_for_pages_that_somebody_named(tmp_path: Path) -> None:
    door = await asking(tmp_path)
    cookie = {"cookie": [f"tideboard_token={token(claims('a'))}"], "origin": ["https://x.example"]}
    assert door.identify(cookie, "", Origin.named).subject == "ada"
    assert denied(door.identify, cookie, "", Origin.anyone).status is HTTPStatus.UNAUTHORIZED


async def test_another_token_has_to_be_of_the_same_subject(tmp_path: Path) -> None:
    door = await asking(tmp_path)
    assert door.renew(token(claims("b")), ADA).patterns == ("b",)
    assert denied(door.renew, token(claims("b", sub="eve")), ADA).code == "unauthorized"
    assert denied(door.renew, "rubbish", ADA).code == "unauthorized"


def test_limits_are_per_address_and_per_subject_and_given_back() -> None:
    door = Door(limits=LimitSettings(per_address=2, per_subject=2))
    guests = [door.enter("a1", ADA), door.enter("a1", EVE)]
    assert "address" in denied(door.enter, "a1", ADA).reason
    guests.append(door.enter("a2", ADA))
    assert "subject" in denied(door.enter, "a3", ADA).reason
    for guest in guests:
        door.leave(guest)
    for address in ("a1", "a1", "a2"):
        door.enter(address, Pass("", ("*",), 1e12))


def test_where_nothing_is_counted_nothing_is_remembered() -> None:
    assert Door().enter("a1", EVERYTHING) is NOBODY
    assert Door(limits=LimitSettings(per_address=1)).enter("a1", EVERYTHING).address == "a1"


def test_who_is_refused_holds_nothing() -> None:
    door = Door(limits=LimitSettings(per_address=1, per_subject=1))
    guest = door.enter("a1", ADA)
    for _ in range(10):
        denied(door.enter, "a1", EVE)
        denied(door.enter, "a2", ADA)
    door.enter("a2", EVE)
    door.leave(guest)
    door.enter("a1", ADA)


def test_a_crowd_is_told_when_to_come_again_and_one_address_does_not_use_up_what_others_need() -> None:
    clock = Clock()
    door = Door(limits=LimitSettings(accepts_per_s=0.1, accepts_at_once=3, accepts_per_address_s=0.25), clock=clock)
    assert door.enter("a1", ADA)
    for _ in range(5):
        assert dict(denied(door.enter, "a1", ADA).headers) == {"Retry-After": "4"}
    assert door.enter("a2", ADA)
    assert door.enter("a3", ADA)
    refused = denied(door.enter, "a4", ADA)
    assert (refused.status, dict(refused.headers)) == (HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "10"})
    clock.now += 10
    assert door.enter("a5", ADA)


def test_one_user_is_told_when_to_come_again_and_others_are_let_in() -> None:
    clock = Clock()
    door = Door(limits=LimitSettings(accepts_per_subject_s=0.5, per_subject=0), clock=clock)
    for address in ("a1", "a2"):
        door.leave(door.enter(address, ADA))
    refused = denied(door.enter, "a3", ADA)
    assert (refused.status, refused.code) == (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    assert "subject" in refused.reason
    assert dict(refused.headers) == {"Retry-After": "2"}
    door.enter("a3", EVE)
    for address in ("a1", "a2", "a3"):
        door.enter(address, Pass("", ("*",), 1e12))
    clock.now += 2
    door.enter("a3", ADA)
    assert denied(door.enter, "a4", ADA).reason == refused.reason


def test_a_request_takes_a_turn_like_a_connection_and_holds_nothing() -> None:
    clock = Clock()
    settings = LimitSettings(accepts_per_s=0.1, accepts_at_once=1, accepts_per_address_s=0.5, accepts_per_subject_s=0.5)
    door = Door(limits=settings, clock=clock)
    for address in ("a1", "a2"):
        door.pass_by(address, ADA)
    assert "subject" in denied(door.pass_by, "a3", ADA).reason
    assert "subject" in denied(door.enter, "a3", ADA).reason
    for right in (EVE, EVERYTHING):
        door.pass_by("a4", right)
    for call in (door.pass_by, door.enter):
        refused = denied(call, "a4", EVERYTHING)
        assert (refused.status, dict(refused.headers)) == (HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "2"})
        assert "address" in refused.reason
    clock.now += 2
    door.pass_by("a4", ADA)
    held = Door(limits=LimitSettings(per_address=1, per_subject=1))
    for _ in range(10):
        held.pass_by("a1", ADA)
    held.enter("a1", ADA)
    held.pass_by("a1", ADA)


def test_who_is_one_too_many_does_not_use_up_what_others_need() -> None:
    door = Door(limits=LimitSettings(accepts_per_s=0.1, accepts_at_once=3, accepts_per_subject_s=0.25), clock=Clock())
    door.enter("a1", ADA)
    for _ in range(10):
        denied(door.enter, "a1", ADA)
    door.enter("a1", EVE)
    door.enter("a1", EVERYTHING)


def test_by_default_all_connections_of_a_user_may_come_back_at_once_and_ask() -> None:
    door, most = Door(clock=Clock()), LimitSettings().per_subject
    for guest in [door.enter("a1", ADA) for _ in range(most)]:
        door.leave(guest)
    for _ in range(most):
        door.pass_by("a1", ADA)


def test_users_who_have_gone_are_not_remembered_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_KEYS", 500)
    door = Door(limits=LimitSettings(accepts_per_s=0), clock=Clock())
    tracemalloc.start()
    try:
        for number in range(2_000):
            door.leave(door.enter("a1", Pass(f"{number:08}" * 512, ("*",), 1e12)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200_000, "2,000 names of 4 KiB were there"


def test_who_is_not_let_in_is_told_once_in_a_while() -> None:
    clock = Clock()
    door = Door(limits=LimitSettings(per_address=1), clock=clock)
    door.enter("a1", EVERYTHING)
    full, foreign = denied(door.enter, "a1", EVERYTHING), denied(door.identify, {"origin": ["https://x"]}, "", Origin.refused)
    with structlog.testing.capture_logs() as told:
        for number in range(1_000):
            door.tell(full, f"a{number}", "/api/v1/live")
            door.tell(foreign, "a1", "/api/v1/live")
        assert [(item["status"], item["reason"]) for item in told] == [(503, full.reason), (403, foreign.reason)]
        clock.now += 4.9
        door.tell(full, "a1", "/api/v1/live")
        assert len(told) == 2
        clock.now += 0.1
        door.tell(full, "a7", "/api/v1/dashboards?t=eyJhbGciOiJIUzI1NiJ9")
    assert told[2:] == [
        {
            "event": "not let in", "log_level": "info", "status": 503, "reason": full.reason, "address": "a7",
            "path": "/api/v1/dashboards?t=(token)", "repeated": 1_000,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "headers", "expected"),
    [
        ("x-forwarded-for", {"x-forwarded-for": ["1.1.1.1, 203.0.113.9"]}, "203.0.113.9"),
        ("x-forwarded-for", {"forwarded": ["for=203.0.113.9"]}, "10.0.0.1"),
        ("forwarded", {"forwarded": ['for="[2001:db8::1]:80"'], "x-forwarded-for": ["1.1.1.1"]}, "2001:db8::/64"),
        ("forwarded", {"forwarded": ["rubbish"]}, "10.0.0.1"),
    ],
)
def test_the_address_behind_a_proxy(header: str, headers: dict[str, list[str]], expected: str) -> None:
    door = Door(limits=LimitSettings(trusted_proxies=("10.0.0.0/8",), forwarded=header))
    assert door.address(headers, "10.0.0.1") == expected
    assert door.address(headers, "203.0.113.5") == "203.0.113.5", "who is no proxy says what it likes"
    assert Door().address(headers, "10.0.0.1") == "10.0.0.1"


def test_a_network_that_is_none_ends_the_start() -> None:
    with pytest.raises(StartupError, match="TRUSTED_PROXIES"):
        Door(limits=LimitSettings(trusted_proxies=("10.0.0.0/99",)))


def test_headers_of_a_scope_are_gathered() -> None:
    assert gathered([(b"a", b" 1 "), (b"b", b"2"), (b"a", b"\xe9")]) == {"a": ["1", "é"], "b": ["2"]}
