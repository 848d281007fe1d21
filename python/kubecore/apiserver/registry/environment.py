"""What every strategy and subresource may use: storage, admission, time, chance, and what access lends. One per registry."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubecore.api.clock import Clock
from kubecore.api.meta import Object, timestamp
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.admission import Admission, User
from kubecore.apiserver.registry.hooks import EscalationChecker, TokenIssuer
from kubecore.apiserver.storage.protocol import Storage

decode_json = msgspec.json.Decoder().decode
encode_json = msgspec.json.Encoder().encode

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and nothing easily confused, so that no words appear."""
GENERATED_SUFFIX_LENGTH = 5
GENERATED_NAME_LENGTH_MAX = 63


class Reader:
    """`StorageReader` over the storage, which decodes each version of an object once for everybody."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        stored = self._storage.get(resource.key(namespace, name))
        return None if stored is None else stored.object

    def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        return [stored.object for stored in self._storage.list(resource.key_prefix(namespace)).items]


@dataclass(slots=True)
class Environment:
    """Built once by `Registry`."""

    storage: Storage
    admission: Admission
    clock: Clock
    random: random.Random
    reader: Reader
    service_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    node_ports: range
    token_issuer: TokenIssuer | None = None
    escalation: EscalationChecker | None = None
    kubelet_address_types: tuple[str, ...] = ("InternalIP",)
    _second: int = 0
    _second_text: str = ""

    def now(self) -> str:
        """`metav1.Time` of now; formatted once a second."""
        second = int(self.clock.now())
        if second != self._second or not self._second_text:
            self._second, self._second_text = second, timestamp(second)
        return self._second_text

    def uid(self) -> str:
        """A version 4 UUID from the injected randomness."""
        digits = f"{self.random.getrandbits(128):032x}"
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def generate_name(self, base: str) -> str:
        """`base` cut to fit, and five random characters."""
        suffix = "".join(self.random.choices(_NAME_ALPHABET, k=GENERATED_SUFFIX_LENGTH))
        return base[: GENERATED_NAME_LENGTH_MAX - GENERATED_SUFFIX_LENGTH] + suffix


@dataclass(slots=True)
class Write:
    """One mutation, as strategies see it."""

    user: User
    subresource: str
    namespace: str
    name: str
    dry_run: bool
    options: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    group: str = ""
    """The API group that was asked, which need not be the one that stores."""
