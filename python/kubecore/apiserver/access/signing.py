"""Keys and certificates made and read: what touches `cryptography`. Where they are kept is `certificates.py`'s.

EC P-256 throughout. With injected randomness and clock the same calls make the same bytes: keys are derived from it and
signatures are deterministic (RFC 6979), which they may always be.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

BACKDATE_SECONDS = 300
"""Certificates begin a little in the past, so that a client whose clock is behind accepts them."""
SERIAL_BITS = 159
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a leaf certificate is for: a server if it has names (host names and addresses), else a client."""

    common_name: str
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class Signer:
    """Makes keys and certificates. randomness None: the system's."""

    def __init__(self, *, now: Callable[[], float], randomness: random.Random | None = None) -> None:
        self._now = now
        self._randomness = randomness

    def new_key_pem(self) -> bytes:
        return _key_pem(self._new_key())

    def authority(self, common_name: str, *, lifetime_seconds: float) -> KeyPair:
        """A self-signed CA."""
        return self._sign(Wanted(common_name), None, lifetime_seconds)

    def leaf(self, wanted: Wanted, authority: KeyPair, *, lifetime_seconds: float) -> KeyPair:
        return self._sign(wanted, authority, lifetime_seconds)

    def _new_key(self) -> ec.EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec

        if self._randomness is None:
            return ec.generate_private_key(ec.SECP256R1())
        return ec.derive_private_key(self._randomness.randrange(1, P256_ORDER), ec.SECP256R1())

    def _serial(self) -> int:
        from cryptography import x509

        return (
            x509.random_serial_number() if self._randomness is None else self._randomness.getrandbits(SERIAL_BITS) | 1
        )

    def _sign(self, wanted: Wanted, authority: KeyPair | None, lifetime_seconds: float) -> KeyPair:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key, subject, now = self._new_key(), _subject(wanted), self._now()
        issuer, issuer_key = (subject, key) if authority is None else _load(authority)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(self._serial())
            .not_valid_before(_date(now - BACKDATE_SECONDS))
            .not_valid_after(_date(now + lifetime_seconds))
            .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(_key_usage(authority=authority is None), critical=True)
        )
        if authority is not None:
            usage = ExtendedKeyUsageOID.SERVER_AUTH if wanted.names else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if wanted.names:
            names = x509.SubjectAlternativeName(_alternative_names(wanted.names))
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256(), ecdsa_deterministic=True)
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def ends_at(certificate_pem: bytes) -> float:
    """When a certificate runs out, seconds since the epoch."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc.timestamp()


def fits(certificate_pem: bytes, authority_pem: bytes, wanted: Wanted) -> bool:
    """Whether a kept certificate is from this CA, and for this subject and at least these names."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(certificate_pem)
    authority = x509.load_pem_x509_certificate(authority_pem)
    if certificate.subject != _subject(wanted) or _key_identifier(certificate) != _key_identifier(authority):
        return False
    if not wanted.names:
        return True
    kept = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_alternative_names(wanted.names)) <= set(kept)


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    """Which CA key signed it; a CA's own identifier is the same as its issuer's."""
    from cryptography import x509

    return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def _load(pair: KeyPair) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    """(subject, key). Raises ValueError if the key is of another kind."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pair.certificate_pem).subject, load_key(pair.key_pem)


def load_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError if it is no elliptic curve key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic curve key")
    return key


def sign_es256(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    """The signature of a JWT: r and s, 32 bytes each (RFC 7518, 3.4)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(key.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _subject(wanted: Wanted) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in wanted.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name)])


def _alternative_names(names: Sequence[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


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
