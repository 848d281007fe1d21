"""`kubecore service-proxy`: makes Services' addresses work on one node, alone, until a signal.

It writes the rules of the network that it is started in: a machine's of `kubecore up --runtime process`, or the host's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubecore.api.clock import SystemClock
from kubecore.api.component_config import ConfigurationError
from kubecore.client.client import Client
from kubecore.client.http import HttpTransport
from kubecore.client.kubeconfig import KubeconfigError, load
from kubecore.cluster.agent import FAILED, Announce, run_agent
from kubecore.proxy import (
    Backend,
    BackendError,
    Conntrack,
    KernelRoutes,
    NftablesBackend,
    NftablesOptions,
    NodeRoutes,
    Pace,
    ServiceProxy,
    UserspaceBackend,
)
from kubecore.proxy import configuration as proxy_configuration
from kubecore.proxy.configuration import KubeProxyConfiguration
from kubecore.proxy.health import Listener, health_application, metrics_application

USERSPACE = "userspace"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProxyCommand:
    """What `kubecore service-proxy` was told beside its configuration. `cleanup`: remove all rules and end; `route_pods`: see to
    routes to other nodes' pods, too."""

    kubeconfig: Path | None
    config: Path | None
    flags: Mapping[str, str]
    cleanup: bool = False
    route_pods: bool = False


def run_service_proxy(command: ProxyCommand, *, announce: Announce) -> int:
    """Until SIGTERM; rules stay, so that a restart cuts nobody off."""
    try:
        configuration = _proxy_configuration(command)
        if command.cleanup:
            asyncio.run(_backend(configuration).clean_up())
            return 0
        kubeconfig = command.kubeconfig or Path(configuration.client_connection.kubeconfig)
        config = load(kubeconfig)
    except (KubeconfigError, ConfigurationError, BackendError, OSError) as error:
        announce(f"error: {error}")
        return FAILED

    async def work() -> None:
        client = Client(HttpTransport(config, user_agent="kube-proxy"))
        node_name = (configuration.hostname_override or socket.gethostname()).strip().lower()
        backend = _backend(configuration)
        proxy = ServiceProxy(
            client,
            node_name,
            backend,
            clock=SystemClock(),
            randomness=random.Random(),
            pace=Pace(configuration.nftables.min_sync_period, configuration.nftables.sync_period),
            # Flows through sockets of our own end with them.
            conntrack=Conntrack() if configuration.mode != USERSPACE else None,
        )
        listeners = [
            (health_application(proxy.health, proxy.metrics), configuration.healthz_bind_address),
            (metrics_application(proxy.metrics, backend.name), configuration.metrics_bind_address),
        ]
        async with contextlib.AsyncExitStack() as ends:
            ends.push_async_callback(client.transport.close)
            for application, address in listeners:
                listener = Listener(application)
                ends.push_async_callback(listener.close)
                host, _, port = address.rpartition(":")
                await listener.open([host.strip("[]") or "0.0.0.0"], int(port))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(proxy.run(), name="service proxy")
                if command.route_pods:
                    routes = NodeRoutes(client, node_name, KernelRoutes(), randomness=random.Random())
                    tasks.create_task(routes.run(), name="routes")

    return run_agent(work, name="service-proxy", announce=announce)


def _backend(configuration: KubeProxyConfiguration) -> Backend:
    if configuration.mode == USERSPACE:
        return UserspaceBackend(randomness=random.Random())
    detect = configuration.detect_local
    return NftablesBackend(
        NftablesOptions(
            masquerade_all=configuration.nftables.masquerade_all,
            masquerade_bit=configuration.nftables.masquerade_bit,
            # Upstream's default, too.
            detect=configuration.detect_local_mode or ("ClusterCIDR" if configuration.cluster_cidr else ""),
            cluster_cidrs=tuple(each for each in configuration.cluster_cidr.split(",") if each),
            interface=detect.bridge_interface or detect.interface_name_prefix,
            node_port_addresses=configuration.node_port_addresses or NftablesOptions().node_port_addresses,
        )
    )


def _proxy_configuration(command: ProxyCommand) -> KubeProxyConfiguration:
    configuration = KubeProxyConfiguration()
    if command.config is not None:
        configuration, ignored = proxy_configuration.load(command.config.read_text())
        if ignored:
            log.info("without effect here: %s", ", ".join(ignored))
    return proxy_configuration.with_flags(configuration, command.flags)
