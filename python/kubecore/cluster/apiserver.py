"""The API server of one cluster, built from options: storage, certificates, access, registry, wire, in that order."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from kubecore.api.clock import Clock
from kubecore.apiserver.access import token_file
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.access.gate import AccessOptions, build_gate
from kubecore.apiserver.registry import Registry
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.wire import APIServer, LocalTransport, PostStartHook, ServedResources, parse_runtime_config
from kubecore.client.client import Client
from kubecore.cluster.options import ClusterOptions

STORE_DIRECTORY = "store"
PKI_DIRECTORY = "pki"


class ApiServerPart:
    """One API server. `start` and `stop` are called on the event loop that its in-process clients will use."""

    def __init__(self, options: ClusterOptions, *, clock: Clock, randomness: random.Random) -> None:
        """Opens the storage: raises StorageError if it is damaged or in use, ValueError on a bad option."""
        self._options = options
        served = ServedResources(parse_runtime_config(options.runtime_config))
        access = _access_options(options)
        networks = options.service_cidr
        directory = options.data_dir
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificates = Certificates(
            directory / PKI_DIRECTORY if directory is not None else None,
            bind_address=options.bind_address,
            service_ip=first_service_address(networks),
        )
        self._storage = open_storage(options, directory)
        gate = build_gate(self._storage, self.certificates, access, now=clock.now, randomness=randomness)
        self.registry = Registry(
            storage=self._storage,
            admission=gate.admission,
            clock=clock,
            random=randomness,
            service_cidr=networks,
            node_ports=options.service_node_port_range,
            token_issuer=gate.tokens,
            escalation=gate.escalation,
            virtual=gate.reviews,
        )
        self.tokens = gate.tokens
        self._server = APIServer(
            storage=self._storage,
            gate=gate,
            registry=self.registry,
            served=served,
            post_start=[PostStartHook("bootstrap-objects", self._bootstrap)],
        )
        self.url = ""

    async def start(self) -> None:
        """Raises OSError if the port is taken."""
        self._port = 0
        if self._options.port is not None:
            self._port = self._server.listen(
                self._options.bind_address,
                self._options.port,
                serving=self.certificates.server,
                client_ca_pem=self.certificates.ca_pem,
            )
            self.url = f"https://{_host(self._options.bind_address)}:{self._port}"
        self._server.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.stop) if self._options.port is not None else self._server.stop()

    def transport(self, identity: str) -> LocalTransport:
        return self._server.transport(identity)

    def client(self, identity: str) -> Client:
        return Client(self.transport(identity))

    def _bootstrap(self) -> None:
        bootstrap.ensure(self.registry, address=_advertised(self._options.bind_address), port=self._port or 443)
"""unfinished"""


def open_storage(options: ClusterOptions, directory: Path | None) -> EmbeddedStorage:
    if options.storage == "memory":
        return EmbeddedStorage.memory(threadless=options.port is None)
    if directory is None:
        raise ValueError("embedded storage needs a data directory")
    return EmbeddedStorage.open(directory / STORE_DIRECTORY)
