"""Whose request it is when proxies stand between: the client's address out of `X-Forwarded-For` or RFC 7239 `Forwarded`. Pure.

Every proxy appends who it was asked by, so only what trusted ones have appended can be believed: the chain is walked from the
right, past trusted networks, to the first address outside of them. One header counts, the one that the settings name, for a
proxy that writes one hands the other through as the client made it up.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_SITE_BITS = 64  # RFC 6177: who has one address of IPv6 has at least so many to choose from
_LONGEST = 4_096  # of RFC 7239's header: quotes make reading it quadratic
_PAIR = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*""")


def networks(settings: Sequence[str]) -> tuple[Network, ...]:
    """ValueError where one is no address or network."""
    return tuple(ip_network(setting, strict=False) for setting in settings)


def client_address(peer: str, chain: Sequence[str] | None, trusted: Sequence[Network]) -> str:
    """chain: what the header says, the client first; None where it cannot be read. The peer's own address where that is not to be believed."""
    at = address(peer)
    if at is None:
        return peer
    if chain is None or not _within(at, trusted):
        return str(at)
    found = at
    for said in reversed(chain):
        hop = address(said)
        if hop is None:
            return str(at)
        found = hop
        if not _within(hop, trusted):
            break
    return str(found)


def limit_key(client: str) -> str:
    """What is counted as one client: an address of IPv4, or a network of 64 bits of IPv6."""
    at = address(client)
    if isinstance(at, IPv6Address):
        return str(ip_network((at, _SITE_BITS), strict=False))
    return client


def x_forwarded_for(lines: Sequence[str]) -> list[str]:
    return [word for line in lines for part in line.split(",") if (word := part.strip())]


def forwarded(lines: Sequence[str]) -> list[str] | None:
    """The `for` of every element of RFC 7239; None where it is malformed. An element without one is empty, and so nobody's address."""
    found = []
    if sum(map(len, lines)) > _LONGEST:
        return None
    for line in lines:
        for element in _split(line, ","):
            pairs = {}
            for part in _split(element, ";"):
                match = _PAIR.fullmatch(part)
                if match is None or match[1].lower() in pairs:
                    return None
                pairs[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2][1:-1]) if match[2].startswith('"') else match[2]
            found.append(pairs.get("for", ""))
    return found


def address(text: str) -> Address | None:
    """An address as proxies write it: plain, in brackets, with a port. IPv4 in IPv6 is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or not _is_port(port):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        at = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(at, IPv6Address) and at.ipv4_mapped) or at


def _is_port(text: str) -> bool:
    """Nothing, or a colon and digits; RFC 7239 6 also allows an obfuscated port, which is of no use here."""
    return text == "" or re.fullmatch(r":[0-9]{1,5}", text) is not None


def _within(at: Address, trusted: Sequence[Network]) -> bool:
    return any(at in network for network in trusted if network.version == at.version)


def _split(text: str, separator: str) -> Iterator[str]:
    """At separators outside of quotes; empty elements are passed over, as RFC 9110 5.6.1 asks."""
    parts = re.findall(rf'(?:"(?:[^"\\]|\\.)*"|[^{separator}])+', text)
    return (part for part in parts if part.strip())
