"""Builds the parts of a kubelet and runs them.

In: a client that acts as `system:node:<name>`, a container runtime, the configuration, the clock, and where this kubelet
lives. Out: a registered node whose pods run. `kubelet.pods`, `kubelet.recorder`, `kubelet.evict` are what the other rooms
are built with.
"""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass, field
from pathlib import Path

from kubecore.api.clock import Clock
from kubecore.client import Client, EventRecorder
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.runtimes.protocol import Runtime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kubelet lives: what its command line says and its configuration file does not."""

    node_name: str
    root_directory: Path = Path("/var/lib/kubelet")
    """Pods' directories; several kubelets on a box have one each."""
    node_ips: tuple[str, ...] = ()
    """The node's addresses, the first one is its InternalIP; empty: the address by which it would leave the host."""
    node_labels: dict[str, str] = field(default_factory=dict)
    hostname: str = field(default_factory=socket.gethostname)
    log_directory: Path = Path("/var/log")


class Kubelet:
    """One node's agent. Run `run` as a task; cancelled, it leaves its pods running."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        configuration: KubeletConfiguration,
        clock: Clock,
        *,
        place: Place,
        randomness: random.Random,
    ) -> None:
        self.client = client
        self.runtime = runtime
        self.configuration = configuration
        self.clock = clock
        self.place = place
        self.randomness = randomness
        self.recorder = EventRecorder(client, component="kubelet", clock=clock, host=place.node_name)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.recorder.run(), name="kubelet events")
