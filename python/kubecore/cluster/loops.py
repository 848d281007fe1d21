"""The loops of a cluster as a table: how each is built from options and a way to act as somebody.

A loop knows a transport and nothing of where it leads: the same rows are run as tasks by `controlplane` and as
processes by `kubecore controllers` and its siblings.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from kubecore.api.clock import Clock
from kubecore.client.client import Client
from kubecore.cluster.identities import TransportFor
from kubecore.cluster.options import ClusterOptions
from kubecore.controllers.manager import ControllerManager
from kubecore.controllers.token import SignToken
from kubecore.scheduler.scheduler import Scheduler
from kubecore.simulate import IDENTITY as NODES_IDENTITY
from kubecore.simulate import Agent, NodePlan

SCHEDULER_IDENTITY = "system:kube-scheduler"


@dataclass(frozen=True, slots=True)
class LoopKeys:
    """What the controllers publish or sign with: the root CA, and how tokens for secrets are signed (None: they are not)."""

    ca_pem: bytes
    sign_token: SignToken | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What a loop is given."""

    options: ClusterOptions
    transport_for: TransportFor
    clock: Clock
    randomness: random.Random
    keys: LoopKeys


@dataclass(frozen=True, slots=True)
class Loop:
    """`run` works until cancelled; `ready` returns once the loop sees the cluster."""

    run: Callable[[], Coroutine[Any, Any, None]]
    ready: Callable[[], Awaitable[None]]
    part: object


def _controllers(world: World) -> Loop | None:
    options = world.options
    if not options.controllers:
        return None
    manager = ControllerManager(
        world.transport_for,
        clock=world.clock,
        randomness=world.randomness,
        controllers=options.controllers.split(","),
        options=controller_options(options, world.keys),
    )
    return Loop(manager.run, manager.wait_synced, manager)


def controller_options(options: ClusterOptions, keys: LoopKeys) -> dict[str, object]:
    """As the controllers name what they can be told."""
    return {
        "node_monitor_grace_period_seconds": options.node_monitor_grace_seconds,
        "root_ca_pem": keys.ca_pem.decode(),
        "sign_token": keys.sign_token,
        "allocate_node_cidrs": options.allocate_node_cidrs,
        "cluster_cidr": options.cluster_cidr,
        "service_cidr": options.service_cidr,
        "node_cidr_mask_size": options.node_cidr_mask_size,
        "load_balancer_cidr": options.load_balancer_cidr,
    }


def _scheduler(world: World) -> Loop | None:
    if not world.options.scheduler:
        return None
    client = Client(world.transport_for(SCHEDULER_IDENTITY))
    configuration = world.options.scheduler_configuration
    scheduler = Scheduler(client, clock=world.clock, randomness=world.randomness, configuration=configuration)
    return Loop(scheduler.run, scheduler.wait_synced, scheduler)


def _nodes(world: World) -> Loop | None:
    options = world.options
    if not options.nodes or options.runtime != "simulated":
        return None
    agent = Agent(
        world.transport_for(NODES_IDENTITY),
        clock=world.clock,
        randomness=world.randomness,
        lease_renew_seconds=options.node_lease_renew_seconds,
    )

    async def ready() -> None:
        await agent.wait_synced()
        await agent.create_nodes(NodePlan(options.nodes))

    return Loop(agent.run, ready, agent)


LOOPS: dict[str, Callable[[World], Loop | None]] = {
    "controllers": _controllers,
    "scheduler": _scheduler,
    "nodes": _nodes,
}
"""In the order in which they start."""
