"""The API server of one cluster, built from options: storage, certificates, access, registry, wire, in that order."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import socket
from pathlib import Path

from kubecore.api import metrics
from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.apiserver.access import token_file
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.access.gate import AccessOptions, build_gate
from kubecore.apiserver.registry.api_services import ensure_api_services
from kubecore.apiserver.registry.bootstrap import ensure_bootstrap_objects
from kubecore.apiserver.registry.registry import Registry
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.storage.timekeeper import keep_time
from kubecore.apiserver.wire import (
    APIServer,
    Dialer,
    Forwarder,
    HostDialer,
    LocalTransport,
    PostStartHook,
    ServedResources,
    parse_runtime_config,
    token_issuer_routes,
)
from kubecore.client.client import Client
from kubecore.cluster.machines.addresses import API_PORT
from kubecore.cluster.machines.namespaces import Inside
from kubecore.cluster.metrics import ClusterMetrics
from kubecore.cluster.options import ClusterOptions

STORE_DIRECTORY = "store"
PKI_DIRECTORY = "pki"
DEFAULT_PORT = 6443
WIRE_THREADS_MAX = 4


class ApiServerPart:
    """One API server. `start` and `stop` are called on the event loop that its in-process clients will use."""

    def __init__(
        self, options: ClusterOptions, *, clock: Clock, randomness: random.Random, dialer: Dialer | None = None
    ) -> None:
        """Opens the storage: raises StorageError if it is damaged or in use, ValueError on a bad option. dialer: how kubelets and pods
        are reached; None: as the options say."""
        self._options = options
        served = ServedResources(parse_runtime_config(options.runtime_config), provided=metrics.RESOURCES)
        self._served = served
        access = _access_options(options)
        directory = options.data_dir
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificates = Certificates(
            directory / PKI_DIRECTORY if directory is not None else None,
            bind_address=options.bind_address,
            service_ip=first_service_address(options.service_cidr),
            more_names=[options.network_address],
            now=clock.now,
            # Without a socket nobody can misuse keys that a seed makes again, and one seed makes one history.
            randomness=random.Random(options.seed) if options.seed is not None and options.port is None else None,
        )
        self._storage = open_storage(options, directory)
        if self._storage.threadless:
            # Before the first write, which is stamped with it.
            self._storage.store.tick(clock.now())
        gate = build_gate(self._storage, self.certificates, access, now=clock.now, randomness=randomness)
        self.registry = Registry(
            storage=self._storage,
            admission=gate.admission,
            clock=clock,
            random=randomness,
            service_cidr=options.service_cidr,
            node_ports=options.service_node_port_range,
            token_issuer=gate.tokens,
            escalation=gate.escalation,
            virtual=gate.reviews,
        )
        self._tokens = gate.tokens
        self._inside = Inside(options.network_namespace) if options.network_namespace is not None else None
        dialer = dialer or self._inside or HostDialer()
        self._metrics = ClusterMetrics(
            self._storage, self.certificates, dialer, clock=clock, threadless=options.port is None
        )
        # Without a socket no stream can come in, and virtual time has no network.
        forwarder = self._forwarder(dialer) if options.port is not None else None
        self._server = APIServer(
            storage=self._storage,
            gate=gate,
            registry=self.registry,
            served=served,
            post_start=[PostStartHook("bootstrap-objects", self._bootstrap)],
            extra_routes=token_issuer_routes(gate.tokens),
            clock=clock,
            providers={metrics.GROUP: self._metrics.api.handle},
            forwarder=forwarder,
        )
        self.url = ""
        self._port = 0
        self._clock = clock
        self._timekeeper: asyncio.Task[None] | None = None

    def _forwarder(self, dialer: Dialer) -> Forwarder:
        """Nodes of our own have certificates of our own CA; others' need not, as upstream's default has it."""
        ca_pem = self.certificates.ca_pem if self._inside is not None else None
        return Forwarder(self.certificates, dialer=dialer, kubelet_ca_pem=ca_pem)

    async def start(self) -> None:
        """Raises OSError if the port is taken."""
        if self._storage.threadless:
            self._timekeeper = asyncio.create_task(keep_time(self._storage, self._clock), name="timekeeper")
        if self._options.port is not None:
            self._port = self._server.listen(
                self._options.bind_address,
                self._options.port,
                serving=self.certificates.server,
                client_ca_pem=self.certificates.ca_pem,
                threads=_wire_threads(),
            )
            self.url = f"https://{reachable(self._options.bind_address)}:{self._port}"
        if self._inside is not None:
            with self._inside.listen(self._options.network_address, API_PORT) as listening:
                self._server.listen_on(
                    listening,
                    serving=self.certificates.server,
                    client_ca_pem=self.certificates.ca_pem,
                    threads=_wire_threads(),
                )
        self._server.start()

    async def stop(self) -> None:
        """Drains: see `APIServer.stop`. Without a socket there is nothing to wait for, and in virtual time no thread."""
        if self._timekeeper is not None:
            self._timekeeper.cancel()
        if self._options.port is None:
            self._server.stop()
        else:
            await asyncio.to_thread(self._server.stop)
        self._metrics.close()
        if self._inside is not None:
            self._inside.close()

    def transport(self, identity: str) -> LocalTransport:
        return self._server.transport(identity)

    def client(self, identity: str) -> Client:
        return Client(self.transport(identity))

    def sign_token(self, service_account: Object, secret_name: str) -> str:
        """A token that lives as long as its secret, for the token controller."""
        return self._tokens.issue_legacy(service_account=service_account, secret_name=secret_name)

    def _bootstrap(self) -> None:
        """Upstream's namespaces, the `kubernetes` Service, the system priority classes, an APIService for each version served."""
        ensure_api_services(self.registry, [(group, self._served.versions(group)) for group in self._served.groups()])
        if self._inside is not None:
            ensure_bootstrap_objects(self.registry, address=self._options.network_address, port=API_PORT)
            return
        bound = self._options.bind_address
        address = _own_address() if ipaddress.ip_address(bound).is_unspecified else bound
        ensure_bootstrap_objects(self.registry, address=address, port=self._port or DEFAULT_PORT)


def open_storage(options: ClusterOptions, directory: Path | None) -> EmbeddedStorage:
    if options.storage == "memory":
        return EmbeddedStorage.memory(threadless=options.port is None)
    if directory is None:
        raise ValueError("embedded storage needs a data directory")
    return EmbeddedStorage.open(directory / STORE_DIRECTORY)


def first_service_address(networks: str) -> str:
    """The address of the `kubernetes` Service: the first of the (first) service network. Raises ValueError."""
    return str(ipaddress.ip_network(networks.split(",")[0].strip())[1])


def _own_address() -> str:
    """An address of this machine that others can reach; loopback if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Chooses a route; nothing is sent.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def _wire_threads() -> int:
    """One for every two cores that this process may use: the other half is for deciding, the log and the clients."""
    return max(1, min(WIRE_THREADS_MAX, len(os.sched_getaffinity(0)) // 2))


def free_port(bind_address: str) -> int:
    """A port that was free a moment ago."""
    version = ipaddress.ip_address(bind_address).version
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind((bind_address, 0))
        port: int = probe.getsockname()[1]
        return port


def reachable(bind_address: str) -> str:
    """How a client on this machine reaches a bound address."""
    address = ipaddress.ip_address(bind_address)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return bind_address if address.version == 4 else f"[{bind_address}]"


def _access_options(options: ClusterOptions) -> AccessOptions:
    static = token_file.load(options.token_auth_file) if options.token_auth_file is not None else {}
    return AccessOptions(
        authorization_modes=_words(options.authorization_mode),
        anonymous=options.anonymous_auth,
        static_tokens=static,
        enable_plugins=_words(options.enable_admission_plugins),
        disable_plugins=_words(options.disable_admission_plugins),
        not_ready_toleration_seconds=options.default_not_ready_toleration_seconds,
        unreachable_toleration_seconds=options.default_unreachable_toleration_seconds,
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
