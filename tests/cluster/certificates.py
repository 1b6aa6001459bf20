"""The cluster's two authorities, the certificates that they issue, and the kubeconfigs that carry them. Nothing is written here.

Who somebody is to Kubernetes stands in the certificate: CN is the user, O are the groups.
"""

import base64
import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster import plan as plans
from tests.cluster.plan import Node, Plan

_DAYS: Final = 30
_ADMINISTRATORS: Final = "system:masters"
_USERS: Final = {
    "admin": ("kubernetes-admin", _ADMINISTRATORS),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """What signs. now: when its certificates begin to hold; a day of grace is given for clocks."""

    def __init__(self, name: str, now: dt.datetime) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._begins = now - dt.timedelta(days=1)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        built = self._builder(self._name, self._key).add_extension(basic, critical=True)
        built = built.add_extension(_usage(signs=True), critical=True)
        # Python 3.13 and OpenSSL's strict checks want to find the issuer by its key, RFC 5280 4.2.1.1 and 4.2.1.2.
        built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self.pair = _pair(built.sign(self._key, hashes.SHA256()), self._key)

    def issue(self, user: str, group: str = "", names: Sequence[str] = (), addresses: Sequence[str] = ()) -> Pair:
        """A certificate for a client, and for a server where names or addresses are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        built = self._builder(x509.Name(parts), key).add_extension(_usage(signs=False), critical=True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        built = built.add_extension(issuer, critical=False)
        if names or addresses:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            told = [*map(x509.DNSName, names), *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses)]
            built = built.add_extension(x509.SubjectAlternativeName(told), critical=False)
        built = built.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return _pair(built.sign(self._key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=self._begins,
            not_valid_after=self._begins + dt.timedelta(days=_DAYS),
        )


def make(plan: Plan, now: dt.datetime) -> dict[str, bytes]:
    """Every file, by its path below the cluster's home."""
    cluster, front = Authority("kubernetes", now), Authority("front-proxy", now)
    pairs = {
        "ca": cluster.pair,
        "front-proxy-ca": front.pair,
        "front-proxy-client": front.issue("front-proxy-client"),
        "apiserver": cluster.issue("kube-apiserver", "", _api_names(), ("127.0.0.1", plans.API_SERVICE, Node(1).address)),
        "apiserver-kubelet-client": cluster.issue("kube-apiserver-kubelet-client", _ADMINISTRATORS),
    }
    pairs |= {name: cluster.issue(user, group) for name, (user, group) in _USERS.items()}
    for node in plan.nodes:
        pairs[node.name] = cluster.issue(f"system:node:{node.name}", "system:nodes", (node.name,), (node.address,))
    files = {f"certificates/{name}.crt": pair.certificate for name, pair in pairs.items()}
    files |= {f"certificates/{name}.key": pair.key for name, pair in pairs.items()}
    for user in (*_USERS, *(node.name for node in plan.nodes)):
        files[f"kubeconfigs/{user}.json"] = kubeconfig(plan.server, cluster.pair.certificate, user, pairs[user])
    return files | _service_account_keys()


def kubeconfig(server: str, authority: bytes, user: str, pair: Pair) -> bytes:
    """A kubeconfig that needs no other file. JSON is YAML."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)},
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        },
        indent=1,
    ).encode()


def _api_names() -> tuple[str, ...]:
    inner = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{plans.DOMAIN}")
    return (*inner, "localhost")


def _service_account_keys() -> dict[str, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"certificates/sa.key": _private(key), "certificates/sa.pub": public}


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _private(key))


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form, sealed = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, sealed)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
