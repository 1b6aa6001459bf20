import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.access.origins import Origin, judge

CASES: dict[str, tuple[list[str], list[str], list[str], Origin]] = {
    "a program": ([], ["tide.example"], [], Origin.none),
    "its own page": (["https://tide.example"], ["tide.example"], [], Origin.own),
    "its own page on a port": (["http://tide.example:8080"], ["TIDE.example:8080"], [], Origin.own),
    "a Host with the port that goes without saying": (["https://tide.example"], ["tide.example:443"], [], Origin.own),
    "another port": (["http://tide.example:9"], ["tide.example:8080"], [], Origin.refused),
    "the port of the other scheme": (["http://tide.example"], ["tide.example:443"], [], Origin.refused),
    "another host": (["https://evil.example"], ["tide.example"], [], Origin.refused),
    "a host that ends alike": (["https://eviltide.example"], ["tide.example"], ["*.tide.example"], Origin.refused),
    "a host that begins alike": (["https://tide.example.evil"], ["tide.example"], ["tide.example"], Origin.refused),
    "a user in it": (["https://tide.example@evil.example"], ["tide.example"], ["tide.example"], Origin.refused),
    "a path in it": (["https://tide.example/x"], ["tide.example"], [], Origin.refused),
    "null": (["null"], ["tide.example"], [], Origin.refused),
    "no scheme": (["tide.example"], ["tide.example"], [], Origin.refused),
    "brackets that do not close": (["https://[::1"], ["tide.example"], [], Origin.refused),
    "two origins": (["https://tide.example", "https://evil.example"], ["tide.example"], ["*"], Origin.refused),
    "two hosts": (["https://tide.example"], ["tide.example", "evil.example"], [], Origin.refused),
    "no host": (["https://tide.example"], [], [], Origin.refused),
    "a named host": (["https://Wall.example"], ["tide.example"], ["wall.EXAMPLE"], Origin.named),
    "a named origin": (["https://wall.example"], ["tide.example"], ["https://wall.example/"], Origin.named),
    "a named origin of another scheme": (["http://wall.example"], ["tide.example"], ["https://wall.example"], Origin.refused),
    "a subdomain": (["https://a.b.wall.example"], ["tide.example"], ["*.wall.example"], Origin.named),
    "not a subdomain of itself": (["https://wall.example"], ["tide.example"], ["*.wall.example"], Origin.refused),
    "an empty subdomain": (["https://.wall.example"], ["tide.example"], ["*.wall.example"], Origin.refused),
    "anyone": (["https://evil.example"], ["tide.example"], ["*"], Origin.anyone),
    "null, as anyone": (["null"], ["tide.example"], ["*"], Origin.anyone),
    "named goes before anyone": (["https://wall.example"], ["tide.example"], ["*", "wall.example"], Origin.named),
}


@pytest.mark.parametrize(("origins", "hosts", "allowed", "expected"), CASES.values(), ids=CASES)
def test_an_origin_is_judged(origins: list[str], hosts: list[str], allowed: list[str], expected: Origin) -> None:
    assert judge(origins, hosts, allowed) is expected


def test_cookies_do_not_count_for_pages_that_nobody_named() -> None:
    assert {origin for origin in Origin if origin.cookies_count} == {Origin.none, Origin.own, Origin.named}
    assert {origin for origin in Origin if not origin.may_connect} == {Origin.refused}


@given(st.text(max_size=40), st.text(max_size=20))
def test_whatever_is_sent_is_judged(origin: str, host: str) -> None:
    found = judge([origin], [host], ["wall.example", "*.example"])
    assert found in Origin
    if found is Origin.own:
        assert host.lower().removesuffix(":443").removesuffix(":80") in origin.lower()
