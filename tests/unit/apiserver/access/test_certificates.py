from __future__ import annotations

import random
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from kubecore.apiserver.access import signing
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.access.signing import KeyPair


def load(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def names_in(certificate: x509.Certificate) -> set[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in extension}


def test_the_server_certificate_stands_for_every_name_a_client_may_use() -> None:
    pki = Certificates(bind_address="192.0.2.7", service_ip="10.96.0.1")
    names = names_in(load(pki.server.certificate_pem))
    assert {
        "localhost",
        "127.0.0.1",
        "::1",
        "192.0.2.7",
        "10.96.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    } <= names


def test_an_unspecified_bind_address_is_no_name() -> None:
    assert "0.0.0.0" not in names_in(load(Certificates(bind_address="0.0.0.0").server.certificate_pem))


def test_a_client_that_trusts_the_ca_accepts_the_server() -> None:
    pki = Certificates()
    verifier = PolicyBuilder().store(Store([load(pki.ca_pem)])).build_server_verifier(x509.DNSName("localhost"))
    chain = verifier.verify(load(pki.server.certificate_pem), [])
    assert len(chain) == 2


def test_the_administrator_is_in_the_group_that_passes_every_check() -> None:
    certificate = load(Certificates().admin.certificate_pem)
    subject = certificate.subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["kubernetes-admin"]
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:masters"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_node_has_its_own_name_in_the_nodes_group() -> None:
    subject = load(Certificates().node("a").certificate_pem).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:a"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_keys_are_elliptic_curve_p256() -> None:
    key = load(Certificates().server.certificate_pem).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_a_restart_uses_the_same_certificates_and_keys(tmp_path: Path) -> None:
    first = Certificates(tmp_path / "pki")
    before = (first.ca_pem, first.server, first.admin, first.service_account_key_pem)
    second = Certificates(tmp_path / "pki")
    assert (second.ca_pem, second.server, second.admin, second.service_account_key_pem) == before


def test_keys_on_disk_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    pki = Certificates(tmp_path / "pki")
    assert pki.server.key_pem != pki.admin.key_pem
    assert pki.service_account_key_pem
    keys = sorted((tmp_path / "pki").glob("*.key"))
    assert [key.name for key in keys] == ["apiserver.key", "ca.key", "client-kubernetes-admin.key", "sa.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_certificate_near_its_end_is_renewed_and_the_ca_stays(tmp_path: Path) -> None:
    old = Certificates(tmp_path / "pki")
    nearly_over = old.server
    soon = time.time() + (365 - 20) * 24 * 3600
    renewed = Certificates(tmp_path / "pki", now=lambda: soon)
    assert renewed.server != nearly_over
    assert renewed.ca_pem == old.ca_pem
    assert signing.ends_at(renewed.server.certificate_pem) > soon + 300 * 24 * 3600


def test_another_bind_address_makes_another_server_certificate(tmp_path: Path) -> None:
    first = Certificates(tmp_path / "pki").server
    second = Certificates(tmp_path / "pki", bind_address="192.0.2.9").server
    assert second != first
    assert "192.0.2.9" in names_in(load(second.certificate_pem))


def test_leaves_of_a_lost_ca_are_made_again(tmp_path: Path) -> None:
    first = Certificates(tmp_path / "pki").server
    for name in ("ca.crt", "ca.key"):
        (tmp_path / "pki" / name).unlink()
    assert Certificates(tmp_path / "pki").server != first


def test_one_seed_makes_the_same_keys_and_certificates_in_virtual_time() -> None:
    def made(seed: int) -> list[object]:
        pki = Certificates(now=lambda: 1e9, randomness=random.Random(seed))
        return [pki.ca_pem, pki.server, pki.admin, pki.service_account_key_pem]

    assert made(1) == made(1)
    assert not any(one == other for one, other in zip(made(1), made(2), strict=True))


def test_without_a_seed_every_cluster_has_its_own_keys() -> None:
    assert Certificates().ca_pem != Certificates().ca_pem


def test_a_kubelet_serves_with_its_name_and_address_and_calls_as_its_node() -> None:
    pki = Certificates(more_names=["198.18.0.1"])
    serving, calling = (
        load(pki.kubelet_serving("node-0", ["198.18.0.11"]).certificate_pem),
        load(pki.node("node-0").certificate_pem),
    )
    assert names_in(serving) == {"node-0", "198.18.0.11"}
    for certificate in (serving, calling):
        subject = certificate.subject
        assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["system:node:node-0"]
        assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes"]
    assert "198.18.0.1" in names_in(load(pki.server.certificate_pem))


def test_threads_that_want_the_same_new_certificate_get_the_same(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    together = threading.Barrier(8)

    def ask(_number: int) -> KeyPair:
        together.wait(10)
        return certificates.kubelet_client

    with ThreadPoolExecutor(8) as threads:
        pairs = set(threads.map(ask, range(8)))
    assert len(pairs) == 1
    assert pairs == {Certificates(tmp_path).kubelet_client}, "and it is the one that is kept"
