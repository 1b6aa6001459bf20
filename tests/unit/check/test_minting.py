"""Tokens that are made here are ones that gateways take, for what they name and for as long as they say."""

import pytest

from services.check.minting import MintingError, mint
from services.gateway.access.keys import KeySet, from_secret
from services.gateway.access.tokens import Rules, TokenError, verify

SECRET = b"thirty-two bytes, and not one less"
NOW = 1_795_000_000.0


def test_a_gateway_takes_it() -> None:
    token = mint(SECRET, "ada", ["team-*"], (NOW, NOW + 60))
    held = verify(token, KeySet((from_secret(SECRET),)), Rules(), NOW)
    assert (held.subject, held.sees("team-a"), held.sees("host")) == ("ada", True, False)
    with pytest.raises(TokenError, match="has ended"):
        verify(token, KeySet((from_secret(SECRET),)), Rules(leeway_s=0), NOW + 60)


def test_it_is_meant_for_whom_gateways_ask_for_and_has_the_claim_that_they_read() -> None:
    token = mint(SECRET, "ada", ["*"], (NOW, NOW + 60), claim="scope.boards", audience="walls", issuer="us")
    rules = Rules(audiences=("walls", "others"), issuers=("us",), claim="scope.boards")
    assert verify(token, KeySet((from_secret(SECRET),)), rules, NOW).sees("host")


def test_a_secret_that_gateways_would_not_take_is_not_signed_with() -> None:
    with pytest.raises(MintingError, match="the secret has 31 bytes"):
        mint(b"x" * 31, "ada", ["*"], (NOW, NOW + 60))
