"""The certificates: who is vouched for by whom, as whom, and under which names."""

import base64
import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster import certificates
from tests.cluster import plan as plans
from tests.cluster.plan import Plan

NOW = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
PLAN = Plan("mine", Path("/somewhere/mine"), 2)


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return certificates.make(PLAN, NOW)


def read(made: dict[str, bytes], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made[f"certificates/{name}.crt"])


def test_every_certificate_is_signed_by_its_own_authority_and_by_no_other(made: dict[str, bytes]) -> None:
    authorities = {"ca", "front-proxy-ca"}
    for path in made:
        name = path.removeprefix("certificates/").removesuffix(".crt")
        if path.endswith(".crt") and name not in authorities:
            by = "front-proxy-ca" if name.startswith("front-proxy") else "ca"
            read(made, name).verify_directly_issued_by(read(made, by))
            with pytest.raises(ValueError):
                read(made, name).verify_directly_issued_by(read(made, (authorities - {by}).pop()))


def test_a_node_is_one_of_the_nodes_and_known_by_its_name_and_address(made: dict[str, bytes]) -> None:
    found = read(made, "node2")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [each.value for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["system:node:node2"]
    assert [each.value for each in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes"]
    assert names.get_values_for_type(x509.DNSName) == ["node2"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.250.0.2"]


def test_the_api_server_is_known_by_the_address_that_pods_use(made: dict[str, bytes]) -> None:
    names = read(made, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    assert plans.API_SERVICE in [str(each) for each in names.get_values_for_type(x509.IPAddress)]


def test_who_has_no_address_may_not_serve(made: dict[str, bytes]) -> None:
    purposes = read(made, "scheduler").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_kubeconfig_holds_all_that_its_user_needs(made: dict[str, bytes]) -> None:
    told = json.loads(made["kubeconfigs/node1.json"])
    user = told["users"][0]["user"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    key = x509.load_pem_x509_certificate(made["certificates/node1.crt"]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert certificate.public_key() == key
    assert told["clusters"][0]["cluster"]["server"] == PLAN.server
    assert base64.b64decode(told["clusters"][0]["cluster"]["certificate-authority-data"]) == made["certificates/ca.crt"]


def test_they_hold_from_before_now_on(made: dict[str, bytes]) -> None:
    found = read(made, "apiserver")
    assert found.not_valid_before_utc < NOW < found.not_valid_after_utc


def test_every_certificate_names_the_key_of_its_issuer_as_strict_clients_ask(made: dict[str, bytes]) -> None:
    for path in made:
        name = path.removeprefix("certificates/").removesuffix(".crt")
        if path.endswith(".crt") and name not in {"ca", "front-proxy-ca"}:
            by = read(made, "front-proxy-ca" if name.startswith("front-proxy") else "ca")
            named = read(made, name).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            own = by.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            assert named.key_identifier == own.key_identifier
