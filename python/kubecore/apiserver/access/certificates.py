"""The cluster's certificates and keys: made on the first start, kept in DATA/pki, renewed before they run out.

Owns the CA, the server certificate, client certificates by name (administrator, components, nodes) and the service
account signing key. Keys are EC P-256. With no directory everything stays in memory. `cryptography` is imported at
first use: starting with certificates that still hold must not pay for it more than it has to.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kubecore.apiserver.access import signing
from kubecore.apiserver.access.signing import KeyPair, Signer, Wanted

_DAY_SECONDS = 24 * 3600
CA_LIFETIME_SECONDS = 3650 * _DAY_SECONDS
LEAF_LIFETIME_SECONDS = 365 * _DAY_SECONDS
RENEW_BEFORE_SECONDS = 30 * _DAY_SECONDS

ADMIN = ("kubernetes-admin", ("system:masters",))
KUBELET_CLIENT = ("kube-apiserver-kubelet-client", ("system:masters",))
"""As whom the API server comes to a kubelet, which asks the API server whether that one may."""


def server_names(*, bind_address: str, service_ip: str, more: Sequence[str] = ()) -> list[str]:
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
    return list(dict.fromkeys(name for name in [*names, *more] if name))


def _is_unspecified(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


class Certificates:
    """All of one cluster's certificates."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        bind_address: str = "127.0.0.1",
        service_ip: str = "10.96.0.1",
        more_names: Sequence[str] = (),
        now: Callable[[], float] = time.time,
        randomness: random.Random | None = None,
    ) -> None:
        """directory: where they are kept (DATA/pki), None for memory only. Nothing is made until it is asked for.

        more_names: further names and addresses of the server.
        randomness: only for clusters in virtual time, which no stranger can reach: the same seed makes the same keys
        and certificates, byte for byte. None: the system's.
        """
        self._directory = directory
        self._signer = Signer(now=now, randomness=randomness)
        self._now = now
        self._server_names = server_names(bind_address=bind_address, service_ip=service_ip, more=more_names)
        self._memory: dict[str, bytes] = {}
        self._making = threading.RLock()
        """Held while a pair is read or made: two threads that want a new one must get the same."""

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

    def kubelet_serving(self, name: str, addresses: Sequence[str]) -> KeyPair:
        """For a kubelet's own port, as upstream's kubelet asks for it (signer kubernetes.io/kubelet-serving)."""
        names = (name, *addresses)
        return self._leaf(f"kubelet-{name}", f"system:node:{name}", ("system:nodes",), names=names)

    @property
    def kubelet_client(self) -> KeyPair:
        """With which the API server comes to kubelets."""
        return self.client(*KUBELET_CLIENT)

    @property
    def service_account_key_pem(self) -> bytes:
        """The private key that signs service account tokens."""
        found = self._read("sa.key")
        if found is None:
            found = self._signer.new_key_pem()
            self._write("sa.key", found, secret=True)
        return found

    # ── keeping ──

    def _ca(self) -> KeyPair:
        with self._making:
            found = self._pair("ca")
            if found is None or signing.ends_at(found.certificate_pem) < self._now() + RENEW_BEFORE_SECONDS:
                found = self._signer.authority("kubernetes", lifetime_seconds=CA_LIFETIME_SECONDS)
                self._keep("ca", found)
            return found

    def _leaf(self, file: str, common_name: str, groups: Sequence[str], *, names: Sequence[str] = ()) -> KeyPair:
        with self._making:
            return self._fitting_leaf(file, Wanted(common_name, tuple(groups), tuple(names)))

    def _fitting_leaf(self, file: str, wanted: Wanted) -> KeyPair:
        authority, found = self._ca(), self._pair(file)
        if (
            found is None
            or signing.ends_at(found.certificate_pem) < self._now() + RENEW_BEFORE_SECONDS
            or not signing.fits(found.certificate_pem, authority.certificate_pem, wanted)
        ):
            found = self._signer.leaf(wanted, authority, lifetime_seconds=LEAF_LIFETIME_SECONDS)
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
