"""Tokens that hold, and the attacks that are known against those who check them."""

import base64
import hashlib
import hmac
import json
import math
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.access.keys import KeySet, from_file, from_jwks, from_secret
from services.gateway.access.tokens import EVERYTHING, LONGEST, Rules, TokenError, UnknownKeyError, carried, verify
from tests.tokens import SECRET, claims, jwk, jwks, pem, private_key, token

NOW = 1_795_385_021.0
RULES = Rules(leeway_s=10)
SHARED = KeySet((from_secret(SECRET),))


def b64(data: bytes | dict[str, Any]) -> str:
    raw = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def made(**changed: Any) -> str:
    """A token of ada for team-*, good at NOW; a claim of None is left out."""
    payload = {**claims("team-*", now=NOW), **changed}
    return token({name: value for name, value in payload.items() if value is not None})


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_token_holds_that_is_signed_with_a_key_of_ours(algorithm: str) -> None:
    kind = algorithm if algorithm[0] == "E" else "RS256"
    for keys in (from_file(pem(kind)), from_jwks(jwks(jwk("ES256", "other"), jwk(kind, "k1")))):
        found = verify(token(claims("team-*", now=NOW), algorithm, kid="k1"), keys, RULES, NOW)
        assert (found.subject, found.patterns, found.ends_at) == ("ada", ("team-*",), NOW + 300 + 10)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_holds_that_is_signed_with_our_secret(algorithm: str) -> None:
    found = verify(token(claims("host", now=NOW), algorithm), SHARED, RULES, NOW)
    assert (found.sees("host"), found.sees("hosts")) == (True, False)


def test_who_is_not_asked_sees_everything() -> None:
    assert EVERYTHING.sees("anything")
    assert EVERYTHING.ends_at == math.inf


# Attacks. Each is seen to be what it says it is: the same token signed as it should be holds.


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], {}, ["HS256"]])
def test_a_token_without_a_signature_does_not_hold(algorithm: Any) -> None:
    forged = f"{b64({'typ': 'JWT', 'alg': algorithm})}.{b64(claims('*', now=NOW))}."
    for keys in (SHARED, from_file(pem("RS256"))):
        with pytest.raises(TokenError):
            verify(forged, keys, RULES, NOW)


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_no_secret_to_sign_with(kind: str) -> None:
    for secret in (pem(kind), pem(kind).strip(), jwks(jwk(kind, "k1"))):
        signed = f"{b64({'typ': 'JWT', 'alg': 'HS256', 'kid': 'k1'})}.{b64(claims('*', now=NOW))}"
        forged = f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
        for keys in (from_file(pem(kind)), from_jwks(jwks(jwk(kind, "k1")))):
            with pytest.raises(TokenError, match="algorithm"):
                verify(forged, keys, RULES, NOW)


def test_a_key_that_a_token_brings_along_is_not_looked_at() -> None:
    mine = jwk("RS256", "k1", number=7)
    for header in ({"jwk": mine}, {"jku": "http://127.0.0.1/"}, {"x5u": "http://127.0.0.1/"}):
        with pytest.raises(TokenError, match="signature"):
            verify(token(claims("*", now=NOW), "RS256", "k1", 7, **header), from_jwks(jwks(jwk("RS256", "k1"))), RULES, NOW)


def test_what_was_changed_after_signing_does_not_hold() -> None:
    header, payload, signature = made().split(".")
    more = b64({**claims("*", now=NOW)})
    for forged in (f"{header}.{more}.{signature}", f"{header}.{payload}.{signature[:-4]}AAAA", f"{header}.{payload}."):
        with pytest.raises(TokenError):
            verify(forged, SHARED, RULES, NOW)


def test_an_extension_that_has_to_be_understood_and_is_not_ends_it() -> None:
    with pytest.raises(TokenError):
        verify(token(claims("*", now=NOW), "HS256", crit=["x_ours"], x_ours=1), SHARED, RULES, NOW)


def test_a_payload_that_is_not_encoded_does_not_hold() -> None:
    detached = jwt.PyJWS().encode(json.dumps(claims("*", now=NOW)).encode(), SECRET, "HS256", is_payload_detached=True)
    with pytest.raises(TokenError):
        verify(detached, SHARED, RULES, NOW)


def test_a_signature_of_one_curve_is_not_of_another() -> None:
    with pytest.raises(TokenError):
        verify(token(claims("*", now=NOW), "ES384"), from_file(pem("ES256")), RULES, NOW)


def test_an_algorithm_that_settings_leave_out_does_not_count() -> None:
    keys = from_file(pem("RS256")).only(["ES256", "RS512"])
    verify(token(claims("*", now=NOW), "RS512"), keys, RULES, NOW)
    with pytest.raises(TokenError, match="algorithm"):
        verify(token(claims("*", now=NOW), "RS256"), keys, RULES, NOW)


def test_a_key_that_is_not_known_is_told_apart_from_a_signature_that_is_wrong() -> None:
    keys = from_jwks(jwks(jwk("RS256", "old")))
    with pytest.raises(UnknownKeyError):
        verify(token(claims("*", now=NOW), "RS256", "new"), keys, RULES, NOW)
    with pytest.raises(UnknownKeyError):
        verify(made(), KeySet(), RULES, NOW)
    with pytest.raises(TokenError, match="signature") as caught:
        verify(token(claims("*", now=NOW), "RS256", "old", number=1), keys, RULES, NOW)
    assert not isinstance(caught.value, UnknownKeyError)


def test_a_token_that_names_no_key_is_tried_with_few() -> None:
    keys = from_jwks(jwks(*(jwk("ES256", f"k{number}", number) for number in range(10))))
    verify(token(claims("*", now=NOW), "ES256", number=0), keys, RULES, NOW)
    with pytest.raises(TokenError):
        verify(token(claims("*", now=NOW), "ES256", number=9), keys, RULES, NOW)


# Claims.

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "ended": ({"exp": NOW - 10}, "has ended"),
    "no end": ({"exp": None}, "no exp"),
    "an end that is text": ({"exp": "tomorrow"}, "exp"),
    "an end that is true": ({"exp": True}, "exp"),
    "an end beyond all ends": ({"exp": 1e300}, "exp"),
    "not yet": ({"nbf": NOW + 11}, "nbf"),
    "signed tomorrow": ({"iat": NOW + 11}, "iat"),
    "meant for another": ({"aud": "shop"}, "aud"),
    "a dashboards claim that is a number": ({"dashboards": 5}, "dashboards"),
    "a dashboards claim with a number": ({"dashboards": ["a", 5]}, "dashboards"),
}


@pytest.mark.parametrize(
    "payload", [b'{"sub":"\xff"}', b"[" * 3_000, b"7", b""], ids=["not UTF-8", "nested deeply", "a number", "nothing"]
)
def test_what_was_signed_and_is_no_object_holds_nothing(payload: bytes) -> None:
    with pytest.raises(TokenError, match="no JSON object"):
        verify(jwt.PyJWS().encode(payload, SECRET, "HS256"), SHARED, RULES, NOW)


@pytest.mark.parametrize(("changed", "reason"), REFUSED.values(), ids=REFUSED)
def test_claims_that_do_not_hold(changed: dict[str, Any], reason: str) -> None:
    verify(made(), SHARED, RULES, NOW)
    with pytest.raises(TokenError, match=reason):
        verify(made(**changed), SHARED, RULES, NOW)


def test_clocks_may_differ_by_the_leeway() -> None:
    verify(made(exp=NOW - 9, nbf=NOW + 9, iat=NOW + 9), SHARED, RULES, NOW)
    with pytest.raises(TokenError):
        verify(made(exp=NOW - 9), SHARED, Rules(leeway_s=0), NOW)


@pytest.mark.parametrize("audience", ["tideboard", ["shop", "tideboard"]])
def test_a_token_for_us_among_others_holds(audience: Any) -> None:
    rules = Rules(audiences=("tideboard", "wall"))
    verify(made(aud=audience), SHARED, rules, NOW)
    for other in ("shop", ["shop"], [], None, {"tideboard": 1}, 5):
        with pytest.raises(TokenError, match="aud"):
            verify(made(aud=other), SHARED, rules, NOW)


def test_an_issuer_that_is_trusted() -> None:
    rules = Rules(issuers=("https://id.example",))
    verify(made(iss="https://id.example"), SHARED, rules, NOW)
    for other in (None, "https://id.example/", ["https://id.example"], 5):
        payload = {**claims("team-*", now=NOW), **({} if other is None else {"iss": other})}
        signed = jwt.PyJWS().encode(json.dumps(payload).encode(), SECRET, "HS256")
        with pytest.raises(TokenError, match="iss"):
            verify(signed, SHARED, rules, NOW)


@pytest.mark.parametrize(
    ("claim", "more", "patterns"),
    [
        ("dashboards", {"dashboards": ["a", "b-*"]}, ("a", "b-*")),
        ("dashboards", {"dashboards": "a b-*"}, ("a", "b-*")),
        ("dashboards", {"dashboards": None}, ()),
        ("dashboards", {"dashboards": []}, ()),
        ("https://tide.example/see", {"https://tide.example/see": ["a"]}, ("a",)),
        ("access.tideboard.roles", {"access": {"tideboard": {"roles": ["a"]}}}, ("a",)),
        ("access.tideboard.roles", {"access": {"tideboard": ["a"]}}, ()),
    ],
)
def test_the_claim_that_names_dashboards(claim: str, more: dict[str, Any], patterns: tuple[str, ...]) -> None:
    assert verify(made(**more), SHARED, Rules(claim=claim), NOW).patterns == patterns


# Where it is carried.

JWT = "aaa.bbb.ccc"

CARRIED: dict[str, tuple[dict[str, list[str]], str]] = {
    "nowhere": ({}, ""),
    "a header": ({"authorization": [f"Bearer {JWT}"]}, JWT),
    "the scheme in any case": ({"authorization": [f"bEARER  {JWT} "]}, JWT),
    "another scheme": ({"authorization": ["Basic YTpi"]}, ""),
    "a subprotocol": ({"sec-websocket-protocol": [f"tideboard.v1.json, tideboard.token.{JWT}"]}, JWT),
    "a subprotocol, wrapped": ({"sec-websocket-protocol": ["a", f"tideboard.token.{b64(JWT.encode())}"]}, JWT),
    "a subprotocol of rubbish": ({"sec-websocket-protocol": ["tideboard.token.A"]}, "A"),
    "a cookie": ({"cookie": [f"a=b; tide={JWT}; tide=other"]}, JWT),
    "a cookie in quotes": ({"cookie": [f'tide="{JWT}"']}, JWT),
    "another cookie": ({"cookie": [f"tideboard={JWT}; xtide={JWT}; tide"]}, ""),
    "on purpose goes before the cookie": ({"cookie": ["tide=old"], "sec-websocket-protocol": [f"tideboard.token.{JWT}"]}, JWT),
}


@pytest.mark.parametrize(("headers", "expected"), CARRIED.values(), ids=CARRIED)
def test_a_token_is_found_where_a_request_carries_it(headers: dict[str, list[str]], expected: str) -> None:
    assert carried(headers, "tide") == expected


def test_a_cookie_that_does_not_count_is_not_looked_at() -> None:
    assert carried({"cookie": [f"tide={JWT}"]}, "tide", cookies_count=False) == ""
    assert carried({"cookie": [f"tide={JWT}"]}, "") == ""


@given(st.text(max_size=60) | st.builds(".".join, st.lists(st.text(max_size=20), min_size=3, max_size=3)))
def test_whatever_is_sent_as_a_token_does_not_hold_and_is_not_repeated(rubbish: str) -> None:
    with pytest.raises(TokenError) as caught:
        verify(rubbish, SHARED, RULES, NOW)
    assert len(rubbish) < 8 or rubbish not in str(caught.value)


@given(st.binary(max_size=60), st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), st.none() | st.text() | st.integers() | st.lists(st.text()) | st.just("HS256")))  # fmt: skip
def test_whatever_is_signed_holds_or_does_not(payload: bytes, header: dict[str, Any]) -> None:
    signed = f"{b64({'alg': 'HS256', **header})}.{b64(payload)}"
    with pytest.raises(TokenError):
        verify(f"{signed}.{b64(hmac.digest(SECRET, signed.encode(), hashlib.sha256))}", SHARED, RULES, NOW)


def test_a_token_that_is_too_long_is_not_read() -> None:
    with pytest.raises(TokenError, match=str(LONGEST)):
        verify(made(more="x" * LONGEST), SHARED, RULES, NOW)


def test_the_keys_of_tests_are_what_they_say() -> None:
    assert private_key("RS256") is private_key("PS512")
    assert private_key("RS256") is not private_key("RS256", 1)
