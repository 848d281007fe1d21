"""Puts an API server together: storage, certificates, access, registry, wire. Nothing listens yet.

server = build_server(ServerOptions(data_directory=path), clock=SystemClock(), randomness=random.Random())
server.start()
port = server.listen("127.0.0.1", 0, serving=server.certificates.server, client_ca_pem=server.certificates.ca_pem)
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubecore.api.clock import Clock
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.access.gate import AccessOptions, Gate, build_gate
from kubecore.apiserver.registry.bootstrap import ensure_bootstrap_objects
from kubecore.apiserver.registry.registry import Registry
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import Response, encode_json, of_json
from kubecore.apiserver.wire.routes import Handler
from kubecore.apiserver.wire.served import ServedResources
from kubecore.apiserver.wire.server import APIServer, PostStartHook

SERVICE_CIDR = "10.96.0.0/12"
_JWKS_PATH = "/openid/v1/jwks"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """data_directory: None keeps nothing. threadless: no thread at all, for virtual time; in memory only.
    advertise_address: where pods would reach the server. advertise_port: where, if it does not listen itself."""

    data_directory: Path | None = None
    threadless: bool = False
    bind_address: str = "127.0.0.1"
    advertise_address: str = "127.0.0.1"
    advertise_port: int = 6443
    service_cidr: str = SERVICE_CIDR
    node_ports: range = range(30000, 32768)
    runtime_config: Mapping[str, bool] = field(default_factory=dict)
    access: AccessOptions = field(default_factory=AccessOptions)


def build_server(options: ServerOptions, *, clock: Clock, randomness: random.Random) -> APIServer:
    """Raises StorageError if the data directory cannot be used, ValueError on a bad option."""
    storage = _open_storage(options)
    directory = options.data_directory
    certificates = Certificates(directory / "pki" if directory else None, bind_address=options.bind_address)
    gate = build_gate(storage, certificates, options.access, now=clock.now, randomness=randomness)
    registry = Registry(
        storage=storage,
        admission=gate.admission,
        clock=clock,
        random=randomness,
        service_cidr=options.service_cidr,
        node_ports=options.node_ports,
        token_issuer=gate.tokens,
        escalation=gate.escalation,
        virtual=gate.reviews,
    )
    server = APIServer(
        storage=storage,
        gate=gate,
        registry=registry,
        served=ServedResources(options.runtime_config),
        certificates=certificates,
        extra_routes=_token_issuer_routes(gate),
    )
    server.add_hooks(_hooks(server, registry, options))
    return server


def _open_storage(options: ServerOptions) -> EmbeddedStorage:
    if options.data_directory is None:
        return EmbeddedStorage.memory(threadless=options.threadless)
    if options.threadless:
        raise ValueError("a data directory needs the log writer's thread")
    return EmbeddedStorage.open(options.data_directory / "store")


def _hooks(server: APIServer, registry: Registry, options: ServerOptions) -> list[PostStartHook]:
    def bootstrap_objects() -> None:
        port = server.port or options.advertise_port
        ensure_bootstrap_objects(registry, address=options.advertise_address, port=port)

    return [
        # The roles are there before this: the gate is built with them.
        PostStartHook("rbac/bootstrap-roles", lambda: None),
        PostStartHook("start-system-namespaces-controller", bootstrap_objects),
    ]


def _token_issuer_routes(gate: Gate) -> dict[str, Handler]:
    """How others learn to check our service account tokens (OIDC discovery)."""

    def configuration(_call: Call) -> Response:
        issuer = gate.tokens.issuer.rstrip("/")
        return of_json(gate.tokens.openid_configuration(f"{issuer}{_JWKS_PATH}"))

    def keys(_call: Call) -> Response:
        return Response(200, encode_json(gate.tokens.jwks()), "application/jwk-set+json")

    return {"/.well-known/openid-configuration": configuration, _JWKS_PATH: keys}
