"""The certificate that the kubelet shows, and which client certificates it believes."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kubecore.kubelet.configuration import KubeletConfiguration

if TYPE_CHECKING:
    from cryptography import x509

_LIFETIME_DAYS = 365


def tls_context(
    configuration: KubeletConfiguration, *, directory: Path, names: Sequence[str], now: float
) -> ssl.SSLContext:
    """The configured pair, else one signed by itself, kept in `directory` (upstream: /var/lib/kubelet/pki). Raises OSError,
    ssl.SSLError for files that are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if configuration.tls_cert_file and configuration.tls_private_key_file:
        context.load_cert_chain(configuration.tls_cert_file, configuration.tls_private_key_file)
    else:
        pair = directory / "kubelet-server.pem"
        if not pair.exists():
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_secret(pair, self_signed(names, now=now))
        context.load_cert_chain(pair)
    if authority := configuration.authentication.x509.client_ca_file:
        context.load_verify_locations(authority)
        # Without one the client may still bring a token.
        context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def self_signed(names: Sequence[str], *, now: float) -> bytes:
    """A key and its certificate for these names and addresses, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    moment = datetime.fromtimestamp(now, UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{names[0]}@{int(now)}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(hours=1))
        .not_valid_after(moment + timedelta(days=_LIFETIME_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoded_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + encoded_key


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_secret(path: Path, content: bytes) -> None:
    """All of it or nothing, for nobody else."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
