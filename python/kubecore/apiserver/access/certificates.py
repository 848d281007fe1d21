"""The cluster's certificates and keys: made on the first start, kept in DATA/pki, renewed before they run out.

Owns the CA, the server certificate, client certificates by name (administrator, components, nodes) and the service
account signing key. Keys are EC P-256. With no directory everything stays in memory. `cryptography` is imported at
first use: starting with certificates that still hold must not pay for it more than it has to.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
BACKDATE = timedelta(minutes=5)
"""Certificates begin a little in the past, so that a client whose clock is behind accepts them."""

ADMIN = ("kubernetes-admin", ("system:masters",))
SCHEDULER = ("system:kube-scheduler", ())
CONTROLLER_MANAGER = ("system:kube-controller-manager", ())


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes


def server_names(*, bind_address: str, service_ip: str) -> list[str]:
    """Host names and addresses that the server certificate stands for, in a fixed order, each once."""
    names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        socket.gethostname(),
        "127.0.0.1",
        "::1",
        service_ip,
    ]
    if bind_address and not _is_unspecified(bind_address):
        names.append(bind_address)
    return list(dict.fromkeys(name for name in names if name))


def _is_unspecified(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


class Certificates:
    """All of one cluster's certificates."""

    def __init__(
        self, directory: Path | None = None, *, bind_address: str = "127.0.0.1", service_ip: str = "10.96.0.1"
    ) -> None:
        """directory: where they are kept (DATA/pki), None for memory only. Nothing is made until it is asked for."""
        self._directory = directory
        self._server_names = server_names(bind_address=bind_address, service_ip=service_ip)
        self._memory: dict[str, bytes] = {}

    @property
    def ca_pem(self) -> bytes:
        return self._ca().certificate_pem

    @property
    def server(self) -> KeyPair:
        return self._leaf("apiserver", "kube-apiserver", (), names=self._server_names)

    @property
    def admin(self) -> KeyPair:
        return self.client(*ADMIN)

    def client(self, name: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: the common name is the user, each organization a group."""
        return self._leaf("client-" + re.sub(r"[^A-Za-z0-9.-]+", "-", name.removeprefix("system:")), name, groups)

    def node(self, name: str) -> KeyPair:
        return self.client(f"system:node:{name}", ("system:nodes",))

    @property
    def service_account_key_pem(self) -> bytes:
        """The private key that signs service account tokens."""
        found = self._read("sa.key")
        if found is None:
            found = _new_key_pem()
            self._write("sa.key", found, secret=True)
        return found

    # ── keeping ──

    def _ca(self) -> KeyPair:
        found = self._pair("ca")
        if found is None or _runs_out(found.certificate_pem):
            found = _sign(common_name="kubernetes", lifetime=CA_LIFETIME)
            self._keep("ca", found)
        return found

    def _leaf(self, file: str, common_name: str, groups: Sequence[str], *, names: Sequence[str] = ()) -> KeyPair:
        authority = self._ca()
        found = self._pair(file)
        if found is None or not _still_good(
            found.certificate_pem, authority.certificate_pem, common_name, groups, names
        ):
            found = _sign(
                common_name=common_name, organizations=groups, names=names, authority=authority, lifetime=LEAF_LIFETIME
            )
            self._keep(file, found)
        return found

    def _pair(self, file: str) -> KeyPair | None:
        certificate, key = self._read(f"{file}.crt"), self._read(f"{file}.key")
        return KeyPair(certificate, key) if certificate is not None and key is not None else None

    def _keep(self, file: str, pair: KeyPair) -> None:
        # The key first: a crash in between leaves a certificate missing, never one that does not fit its key.
        if self._directory is not None:
            (self._directory / f"{file}.crt").unlink(missing_ok=True)
        self._write(f"{file}.key", pair.key_pem, secret=True)
        self._write(f"{file}.crt", pair.certificate_pem, secret=False)

    def _read(self, file: str) -> bytes | None:
        if file not in self._memory and self._directory is not None:
            with contextlib.suppress(FileNotFoundError):
                self._memory[file] = (self._directory / file).read_bytes()
        return self._memory.get(file)

    def _write(self, file: str, content: bytes, *, secret: bool) -> None:
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._directory / file, content, mode=0o600 if secret else 0o644)
        self._memory[file] = content


def write_atomically(path: Path, content: bytes, *, mode: int) -> None:
    """Replaces the file in one step; nobody ever sees half of it, nor a key with wider rights than `mode`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _runs_out(certificate_pem: bytes) -> bool:
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc < datetime.now(UTC) + RENEW_BEFORE


def _still_good(
    certificate_pem: bytes, authority_pem: bytes, common_name: str, organizations: Sequence[str], names: Sequence[str]
) -> bool:
    """Whether a kept certificate is in date, from this CA, and for this subject and these names."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(certificate_pem)
    authority = x509.load_pem_x509_certificate(authority_pem)
    if certificate.not_valid_after_utc < datetime.now(UTC) + RENEW_BEFORE:
        return False
    if certificate.subject != _subject(common_name, organizations):
        return False
    if _key_identifier(certificate) != _key_identifier(authority):
        return False
    if not names:
        return True
    kept = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_alternative_names(names)) <= set(kept)


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    """Which CA key signed it; a CA's own identifier is the same as its issuer's."""
    from cryptography import x509

    extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return extension.key_identifier


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _new_key_pem() -> bytes:
    return _key_pem(_new_key())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _alternative_names(names: Sequence[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _sign(
    *,
    common_name: str,
    organizations: Sequence[str] = (),
    names: Sequence[str] = (),
    authority: KeyPair | None = None,
    lifetime: timedelta,
) -> KeyPair:
    """A new key and its certificate: a self-signed CA without `authority`, a server's with `names`, else a client's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key, subject, now = _new_key(), _subject(common_name, organizations), datetime.now(UTC)
    issuer, issuer_key = subject, key
    if authority is not None:
        issuer = x509.load_pem_x509_certificate(authority.certificate_pem).subject
        loaded = serialization.load_pem_private_key(authority.key_pem, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("the CA's key is not an elliptic curve key")
        issuer_key = loaded
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_key_usage(authority=authority is None), critical=True)
    )
    if authority is not None:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(_alternative_names(names)), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
