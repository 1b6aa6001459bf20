from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.access.forwarded import client_address, forwarded, limit_key, networks, x_forwarded_for

TRUSTED = networks(["10.0.0.0/8", "fd00::/8", "127.0.0.1"])

CHAINS: dict[str, tuple[str, list[str], str]] = {
    "no proxy": ("203.0.113.9", [], "203.0.113.9"),
    "a peer that is not trusted says what it likes": ("203.0.113.9", ["1.1.1.1"], "203.0.113.9"),
    "one proxy": ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    "what the client made up is not reached": ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
    "two proxies": ("10.0.0.1", ["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
    "a chain of trusted ones only": ("10.0.0.1", ["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
    "an empty chain": ("10.0.0.1", [], "10.0.0.1"),
    "rubbish before a client": ("10.0.0.1", ["rubbish", "203.0.113.9"], "203.0.113.9"),
    "rubbish where a client should be": ("10.0.0.1", ["203.0.113.9", "rubbish", "10.0.0.2"], "10.0.0.1"),
    "hidden": ("10.0.0.1", ["_secret"], "10.0.0.1"),
    "unknown": ("10.0.0.1", ["unknown"], "10.0.0.1"),
    "a port": ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
    "IPv6": ("fd00::1", ["2001:db8::17"], "2001:db8::17"),
    "IPv6 with a port": ("fd00::1", ["[2001:db8::17]:4711"], "2001:db8::17"),
    "IPv4 in IPv6": ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
    "a port that is none": ("10.0.0.1", ["203.0.113.9:http"], "10.0.0.1"),
    "brackets that do not close": ("10.0.0.1", ["[2001:db8::17"], "10.0.0.1"),
    "a network is no address": ("10.0.0.1", ["203.0.113.0/24"], "10.0.0.1"),
}


@pytest.mark.parametrize(("peer", "chain", "expected"), CHAINS.values(), ids=CHAINS)
def test_the_chain_is_walked_from_the_right_past_trusted_proxies(peer: str, chain: list[str], expected: str) -> None:
    assert client_address(peer, chain, TRUSTED) == expected


def test_a_header_that_cannot_be_read_says_nothing() -> None:
    assert client_address("10.0.0.1", None, TRUSTED) == "10.0.0.1"


def test_lines_of_the_header_are_one_list() -> None:
    assert x_forwarded_for(["1.1.1.1, 2.2.2.2", "", " 3.3.3.3 ,"]) == ["1.1.1.1", "2.2.2.2", "3.3.3.3"]


ELEMENTS: dict[str, tuple[list[str], list[str] | None]] = {
    "the examples of RFC 7239": (
        ['for="_gazonk"', 'For="[2001:db8:cafe::17]:4711"', "for=192.0.2.60;proto=http;by=203.0.113.43", "for=192.0.2.43, for=198.51.100.17"],
        ["_gazonk", "[2001:db8:cafe::17]:4711", "192.0.2.60", "192.0.2.43", "198.51.100.17"],
    ),
    "an element of somebody who does not say": (["proto=https, for=1.1.1.1"], ["", "1.1.1.1"]),
    "commas and semicolons in quotes": (['by="a,b;c";for=1.1.1.1'], ["1.1.1.1"]),
    "a quoted quote": (['for="\\"x\\""'], ['"x"']),
    "a quote that does not close": (['for="1.1.1.1'], None),
    "a quote that swallows what the proxy added": (['for="9.9.9.9, for="[2001:db8::1]:443"'], None),
    "no pair": (["1.1.1.1"], None),
    "for twice": (["for=1.1.1.1;for=2.2.2.2"], None),
    "too long": (["for=1.1.1.1," * 1_000], None),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), ELEMENTS.values(), ids=ELEMENTS)
def test_forwarded_is_read(lines: list[str], expected: list[str] | None) -> None:
    assert forwarded(lines) == expected


def test_a_client_of_ipv6_is_its_network() -> None:
    assert limit_key("2001:db8::1") == limit_key("2001:db8::ffff:1") == "2001:db8::/64"
    assert limit_key("203.0.113.9") == "203.0.113.9"
    assert limit_key("?") == "?"


@given(st.lists(st.text('for=";, \\0123456789.:[]', max_size=40), max_size=4))
def test_whatever_is_sent_is_no_error(lines: list[str]) -> None:
    for chain in (forwarded(lines), x_forwarded_for(lines)):
        ip_address(client_address("10.0.0.1", chain, TRUSTED))


@given(st.lists(st.text(max_size=20), max_size=4), st.ip_addresses(v=4))
def test_no_client_can_look_like_another(made_up: list[str], real: object) -> None:
    """Whatever it sends, the proxy appends its address, and that is what counts."""
    if any(ip_address(str(real)) in network for network in TRUSTED if network.version == 4):
        return
    assert client_address("10.0.0.1", x_forwarded_for([*made_up, str(real)]), TRUSTED) == str(real)


def test_a_network_that_is_none_is_refused() -> None:
    assert networks(["10.1.2.3/8"]) == (ip_network("10.0.0.0/8"),)
    with pytest.raises(ValueError, match="/99"):
        networks(["10.0.0.0/99"])
