"""Keys and tokens for tests: one pair of each kind for the whole run, JWK sets of their public halves, tokens signed with any of them."""

import functools
import json
import time
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET: Final = b"a secret of at least sixty-four bytes, as HS512 has to have; 0123456789"
CURVES: Final = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def private_key(algorithm: str, number: int = 0) -> Any:
    """The same one for the same arguments, and for all algorithms of RSA. number: tells several of one kind apart."""
    return _private_key(algorithm if algorithm.startswith("E") else algorithm[:1].replace("P", "R"), number)


@functools.cache
def _private_key(kind: str, number: int) -> Any:
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind])
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return SECRET if kind == "H" else rsa.generate_private_key(65_537, 2_048)


def pem(algorithm: str, number: int = 0) -> bytes:
    """The public half."""
    found: bytes = private_key(algorithm, number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found


def jwk(algorithm: str, kid: str, number: int = 0, **more: Any) -> dict[str, Any]:
    kinds: dict[str, Any] = {"ES": ECAlgorithm, "Ed": OKPAlgorithm, "RS": RSAAlgorithm, "PS": RSAAlgorithm}
    public = private_key(algorithm, number).public_key()
    found: dict[str, Any] = json.loads(kinds[algorithm[:2]].to_jwk(public))
    return {**found, "kid": kid, "use": "sig", **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(*dashboards: str, ends_in_s: float = 300, now: float | None = None, **more: Any) -> dict[str, Any]:
    at = time.time() if now is None else now
    return {"sub": "ada", "iat": at, "exp": at + ends_in_s, "dashboards": list(dashboards), **more}


def token(payload: dict[str, Any], algorithm: str = "HS256", kid: str = "", number: int = 0, **header: Any) -> str:
    """Signed with `private_key(algorithm, number)`."""
    named = {"kid": kid} if kid else {}
    return jwt.encode(payload, private_key(algorithm, number), algorithm, headers={**named, **header})
