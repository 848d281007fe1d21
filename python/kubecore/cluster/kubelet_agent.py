"""`kubecore kubelet`: a node's agent, alone, until a signal.

It uses the network that it is started in: a machine's of `kubecore up --runtime process`, or the host's.
"""

from __future__ import annotations

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
from kubecore.kubelet import configuration as kubelet_configuration
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.kubelet import Kubelet, Place
from kubecore.kubelet.runtimes.process import connect
from kubecore.kubelet.runtimes.protocol import Runtime

UNIX = "unix://"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KubeletCommand:
    """What `kubecore kubelet` was told beside its configuration."""

    kubeconfig: Path
    config: Path | None
    flags: Mapping[str, str]
    hostname_override: str
    node_ip: str
    node_labels: str
    root_dir: Path


def run_kubelet(command: KubeletCommand, *, announce: Announce) -> int:
    """Until SIGTERM; pods go on, unless the configuration gives them time to end when the node goes down."""
    try:
        config = load(command.kubeconfig)
        configuration = _kubelet_configuration(command)
        place = _place(command)
    except (KubeconfigError, ConfigurationError, OSError) as error:
        announce(f"error: {error}")
        return FAILED

    kubelets: list[Kubelet] = []

    async def work() -> None:
        runtime = connect_runtime(configuration.container_runtime_endpoint)
        client = Client(HttpTransport(config, user_agent="kubelet"))
        kubelet = Kubelet(client, runtime, configuration, SystemClock(), place=place, randomness=random.Random())
        kubelets.append(kubelet)
        try:
            await kubelet.run()
        finally:
            await runtime.close()
            await client.transport.close()

    async def wind_down() -> None:
        for kubelet in kubelets:
            await kubelet.shut_down()

    return run_agent(work, name="kubelet", announce=announce, wind_down=wind_down)


def connect_runtime(endpoint: str) -> Runtime:
    """`unix:///path` of a runtime's socket. Raises ValueError for what is no such endpoint."""
    if not endpoint.startswith(UNIX):
        raise ValueError(f"--container-runtime-endpoint {endpoint}: expected unix:///path/to/socket")
    return connect(Path(endpoint.removeprefix(UNIX)))


def _kubelet_configuration(command: KubeletCommand) -> KubeletConfiguration:
    """The file, then the flags over it, as upstream."""
    configuration = KubeletConfiguration()
    if command.config is not None:
        configuration, ignored = kubelet_configuration.load(command.config.read_text())
        if ignored:
            log.info("without effect here: %s", ", ".join(ignored))
    configuration = kubelet_configuration.with_flags(configuration, command.flags)
    if in_vain := kubelet_configuration.asked_in_vain(configuration):
        log.warning("not acted on yet: %s", ", ".join(in_vain))
    return configuration


def _place(command: KubeletCommand) -> Place:
    hostname = socket.gethostname()
    labels = (pair.partition("=") for pair in command.node_labels.split(",") if pair.strip())
    return Place(
        node_name=(command.hostname_override or hostname).strip().lower(),
        root_directory=command.root_dir,
        node_ips=tuple(each.strip() for each in command.node_ip.split(",") if each.strip()),
        node_labels={name.strip(): value.strip() for name, _, value in labels},
        hostname=hostname,
    )
