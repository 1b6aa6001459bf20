"""What a token's signature is verified with: keys out of PEM, JWK sets (RFC 7517) and secrets, each with the algorithms it may be used with. Pure.

The algorithms come from the key, never from the token: a public key of RSA verifies RS and PS only, so that nobody can sign with
HS and the public key as the secret; `none` belongs to no key. What is too weak to be trusted (RSA under 2,048 bits, secrets shorter
than their hash) is refused, as RFC 7518 3.2 and 3.3 ask.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}  # RFC 7518 3.4: each with its own hash
HMAC: Final = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes that the secret needs at least
ALGORITHMS: Final = (*RSA, *CURVES.values(), "EdDSA", *HMAC)

_MIN_RSA_BITS: Final = 2_048
_MAX_RSA_BITS: Final = 8_192  # verifying grows with the square of it
_MOST_KEYS: Final = 100
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_KINDS: Final[Mapping[str, Any]] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm, "oct": HMACAlgorithm}
_PUBLIC: Final = ("kty", "n", "e", "crv", "x", "y", "k")  # of a JWK; a private half that somebody published is not even read
_NO_SECRET: Final = (b"-----BEGIN", b"ssh-", b"ecdsa-", b"sk-ssh-")


class UnusableKeyError(ValueError):
    """Why a key cannot be used."""


@dataclass(frozen=True, slots=True)
class Key:
    """kid: its name in the set, empty where it has none. material: a secret or a public key of `cryptography`."""

    kid: str
    material: bytes | PublicKey
    algorithms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeySet:
    keys: tuple[Key, ...] = ()

    def candidates(self, kid: str | None) -> list[Key]:
        """Keys that a token with this name may be signed with. A key without a name may have signed any, and any key a token without one."""
        named = [key for key in self.keys if kid is None or key.kid == kid]
        return named or [key for key in self.keys if not key.kid]

    def only(self, algorithms: Sequence[str]) -> "KeySet":
        """With no other algorithms than these, where any are named; keys that are left without one are left out."""
        if not algorithms:
            return self
        kept = [Key(key.kid, key.material, tuple(name for name in key.algorithms if name in algorithms)) for key in self.keys]
        return KeySet(tuple(key for key in kept if key.algorithms))

    def __or__(self, other: "KeySet") -> "KeySet":
        return KeySet((*self.keys, *other.keys))

    def __len__(self) -> int:
        return len(self.keys)


def from_secret(data: bytes, kid: str = "") -> Key:
    """A secret of HMAC: the bytes of its file, but for one line's end."""
    secret = data.removesuffix(b"\n").removesuffix(b"\r")
    if data.lstrip().startswith(_NO_SECRET) or _is_der(data) or _is_json(data):
        # A public key is known to everybody: taken as a secret, it would let anybody sign.
        raise UnusableKeyError("it is no secret but a key or a key set, which has a setting of its own")
    algorithms = tuple(name for name, least in HMAC.items() if len(secret) >= least)
    if not algorithms:
        raise UnusableKeyError(f"the secret has {len(secret)} bytes; HS256 needs 32, HS384 48, HS512 64")
    return Key(kid, secret, algorithms)


def from_file(data: bytes) -> KeySet:
    """Public keys and certificates in PEM, or a JWK set. Secrets may be in a set that is a file, as nobody else can read it."""
    if data.lstrip().startswith(b"{"):
        return from_jwks(data, secrets=True)
    blocks = list(_BLOCK.finditer(data))
    if not blocks:
        raise UnusableKeyError('it holds neither PEM (-----BEGIN PUBLIC KEY-----) nor a JWK set ({"keys": [...]})')
    return KeySet(tuple(_from_pem(block[0], block[1].decode()) for block in blocks[:_MOST_KEYS]))


def from_jwks(data: bytes, *, secrets: bool = False) -> KeySet:
    """The keys of a set that can be used here; the others (of other uses, types, sizes) are left out. UnusableKeyError where none is left."""
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise UnusableKeyError(f"it is no JSON: {error}") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise UnusableKeyError('it is no JWK set: {"keys": [...]}')
    keys, reasons = [], []
    for place, item in enumerate(listed[:_MOST_KEYS]):
        try:
            keys.append(_from_jwk(item, secrets=secrets))
        except UnusableKeyError as error:
            reasons.append(f"keys[{place}]: {error}")
    if not keys:
        raise UnusableKeyError(f"no key in it can be used; {'; '.join(reasons[:3]) or 'it is empty'}")
    return KeySet(tuple(keys))


def _is_der(data: bytes) -> bool:
    try:
        load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(data), dict)
    except msgspec.DecodeError:
        return False


def _from_pem(block: bytes, label: str) -> Key:
    if "PRIVATE" in label:
        raise UnusableKeyError("it holds a private key; a gateway needs the public one only, and must not have the other")
    try:
        key = x509.load_pem_x509_certificate(block).public_key() if label == "CERTIFICATE" else load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKeyError(f"a {label.lower()} in it cannot be read: {error}") from None
    return _public("", key)


def _from_jwk(item: Any, *, secrets: bool) -> Key:
    if not isinstance(item, dict) or not isinstance(kind := item.get("kty"), str) or kind not in _KINDS:
        raise UnusableKeyError("its kty is none of RSA, EC, OKP, oct")
    operations = item.get("key_ops", ["verify"])
    if item.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise UnusableKeyError("it is not for signatures")
    if kind == "oct" and not secrets:
        raise UnusableKeyError("it is a secret in a set that others can read")
    kid, algorithm = item.get("kid", ""), item.get("alg")
    if not isinstance(kid, str):
        raise UnusableKeyError("its kid is no text")
    try:
        material = _KINDS[kind].from_jwk({name: item[name] for name in _PUBLIC if name in item})
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        raise UnusableKeyError(f"it cannot be read: {type(error).__name__}") from None
    key = from_secret(material, kid) if kind == "oct" else _public(kid, material)
    if algorithm is None:
        return key
    if algorithm == "Ed25519" and isinstance(material, Ed25519PublicKey):  # RFC 9864's name
        algorithm = "EdDSA"
    if algorithm not in key.algorithms:
        raise UnusableKeyError("its alg is not one for keys of its kind")
    return Key(kid, key.material, (algorithm,))


def _public(kid: str, key: object) -> Key:
    match key:
        case RSAPublicKey():
            if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
                raise UnusableKeyError(f"RSA with {key.key_size} bits, expected {_MIN_RSA_BITS} to {_MAX_RSA_BITS}")
            return Key(kid, key, RSA)
        case EllipticCurvePublicKey():
            if key.curve.name not in CURVES:
                raise UnusableKeyError(f"the curve {key.curve.name} is none of P-256, P-384, P-521")
            return Key(kid, key, (CURVES[key.curve.name],))
        case Ed25519PublicKey() | Ed448PublicKey():
            return Key(kid, key, ("EdDSA",))
        case _:
            raise UnusableKeyError("it is none of RSA, EC, Ed25519, Ed448")


def described(keys: KeySet) -> Iterator[str]:
    """For a person, nothing that is secret."""
    for key in keys.keys:
        yield f"{key.kid or '(without a name)'}: {', '.join(key.algorithms)}"
