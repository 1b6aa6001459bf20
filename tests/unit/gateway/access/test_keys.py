import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from services.gateway.access.keys import ALGORITHMS, RSA, UnusableKeyError, described, from_file, from_jwks, from_secret
from tests.tokens import SECRET, jwk, jwks, pem, private_key

SMALL = rsa.generate_private_key(65_537, 1_024)  # noqa: S505


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [("RS256", RSA), ("ES256", ("ES256",)), ("ES384", ("ES384",)), ("ES512", ("ES512",)), ("EdDSA", ("EdDSA",))],
)
def test_a_key_may_be_used_with_the_algorithms_of_its_kind_only(algorithm: str, expected: tuple[str, ...]) -> None:
    (from_pem,) = from_file(pem(algorithm)).keys
    (from_set,) = from_jwks(jwks(jwk(algorithm, "k1"))).keys
    assert (from_pem.kid, from_pem.algorithms) == ("", expected)
    assert (from_set.kid, from_set.algorithms) == ("k1", expected)


def test_several_keys_in_one_file() -> None:
    assert len(from_file(b"# old\n" + pem("RS256") + b"# new\n" + pem("EdDSA"))) == 2


def test_the_alg_of_a_key_narrows_it() -> None:
    assert from_jwks(jwks(jwk("RS256", "a", alg="RS512"))).keys[0].algorithms == ("RS512",)
    assert from_jwks(jwks(jwk("EdDSA", "a", alg="Ed25519"))).keys[0].algorithms == ("EdDSA",)
    with pytest.raises(UnusableKeyError):
        from_jwks(jwks(jwk("RS256", "a", alg="HS256")))


def test_settings_narrow_it_too() -> None:
    keys = from_file(pem("RS256")) | from_file(pem("ES256"))
    assert [key.algorithms for key in keys.only(["RS256", "HS256"]).keys] == [("RS256",)]
    assert keys.only([]) == keys


@pytest.mark.parametrize(
    ("length", "expected"), [(32, ("HS256",)), (48, ("HS256", "HS384")), (64, ("HS256", "HS384", "HS512"))]
)
def test_a_secret_needs_as_many_bytes_as_its_hash(length: int, expected: tuple[str, ...]) -> None:
    assert from_secret(b"x" * length + b"\n").algorithms == expected
    with pytest.raises(UnusableKeyError, match="31 bytes"):
        from_secret(b"x" * 31 + b"\r\n")


DER = private_key("RS256").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SSH = private_key("RS256").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


@pytest.mark.parametrize("data", [pem("RS256"), b"\n" + pem("ES256"), DER, SSH, jwks(jwk("RS256", "a"))])
def test_a_public_key_is_never_taken_for_a_secret(data: bytes) -> None:
    with pytest.raises(UnusableKeyError, match="no secret"):
        from_secret(data)


UNUSABLE: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello",
    "a broken block": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    "a private key": private_key("RS256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "a small key": SMALL.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "a curve of Bitcoin": ec.generate_private_key(ec.SECP256K1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "broken JSON": b"{",
    "no set": b"{}",
    "a set that is no list": b'{"keys": {}}',
    "an empty set": b'{"keys": []}',
    "rubbish in a set": json.dumps({"keys": [1, None, [], {}, {"kty": "x"}, {"kty": ["RSA"]}, {"kty": "RSA"}]}).encode(),
    "an encryption key": jwks(jwk("RS256", "a", use="enc")),
    "a key that may only sign": jwks(jwk("RS256", "a", key_ops=["sign"])),
    "a small key in a set": jwks(json.loads(RSAAlgorithm.to_jwk(SMALL.public_key()))),
    "a point that is not on its curve": jwks(
        {**json.loads(ECAlgorithm.to_jwk(private_key("ES256").public_key())), "x": "AAAA"}
    ),
    "a kid that is no text": jwks(jwk("RS256", 5)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("data", UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(UnusableKeyError) as caught:
        from_file(data)
    assert str(caught.value)


def test_a_set_is_usable_when_one_of_its_keys_is() -> None:
    keys = from_jwks(jwks(jwk("RS256", "enc", use="enc"), {"kty": "weird"}, jwk("ES256", "good")))
    assert [key.kid for key in keys.keys] == ["good"]


def test_secrets_are_read_from_a_set_in_a_file_and_not_from_one_that_is_published() -> None:
    data = jwks({"kty": "oct", "kid": "s", "k": base64.urlsafe_b64encode(SECRET).decode().rstrip("=")})
    assert from_file(data).keys[0].material == SECRET
    with pytest.raises(UnusableKeyError, match="others can read"):
        from_jwks(data)


def test_a_private_half_in_a_set_is_not_read() -> None:
    both = {**json.loads(RSAAlgorithm.to_jwk(private_key("RS256"))), "kid": "a", "key_ops": ["verify"]}
    assert "d" in both
    assert not hasattr(from_jwks(jwks(both)).keys[0].material, "private_numbers")


def test_keys_are_found_by_name_and_those_without_one_for_every_token() -> None:
    keys = from_jwks(jwks(jwk("RS256", "a"), jwk("ES256", "b")))
    assert [key.kid for key in keys.candidates("b")] == ["b"]
    assert [key.kid for key in keys.candidates(None)] == ["a", "b"]
    assert keys.candidates("c") == []
    assert [key.kid for key in (keys | from_file(pem("EdDSA"))).candidates("c")] == [""]


def test_what_is_told_of_keys_is_no_secret() -> None:
    assert list(described(from_file(pem("ES256")))) == ["(without a name): ES256"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["kty", "n", "e", "x", "crv", "kid", "alg", "use", "key_ops", "k"]), inner)))  # fmt: skip
def test_whatever_is_in_a_set_is_refused_or_read(item: Any) -> None:
    for kty in ("RSA", "EC", "OKP", "oct"):
        listed = [{**item, "kty": kty}] if isinstance(item, dict) else [item]
        try:
            keys = from_file(json.dumps({"keys": listed}).encode())
        except UnusableKeyError:
            continue
        assert all(set(key.algorithms) <= set(ALGORITHMS) for key in keys.keys)
