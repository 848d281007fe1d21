"""Real namespaces, by names that nobody else has."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubecore.cluster.machines import namespaces
from kubecore.cluster.machines.addresses import Addresses
from kubecore.cluster.machines.fabric import Fabric, NetworkFailure, configure

WAIT_SECONDS = 5.0


@pytest.fixture
def name() -> Iterator[str]:
    own = f"kctest-{os.getpid()}"
    yield own
    for each in namespaces.names():
        if each.startswith(own):
            namespaces.remove(each)


@pytest.fixture
def fabric(name: str) -> Iterator[Fabric]:
    made = Fabric(name, Addresses("198.18.0.0/24", "203.0.113.0/24"))
    made.create()
    yield made
    made.close()


def own_namespace() -> str:
    return os.readlink("/proc/thread-self/ns/net")


def test_a_thread_works_inside_and_the_rest_of_the_process_stays_outside(name: str) -> None:
    before = own_namespace()
    path = namespaces.create(name)
    inside = namespaces.Inside(path)
    try:
        assert inside.run(own_namespace) == f"net:[{path.stat().st_ino}]"
        assert inside.run(lambda: [entry[1] for entry in socket.if_nameindex()]) == ["lo"]
        assert own_namespace() == before
    finally:
        inside.close()


def test_a_removed_namespace_is_gone_and_removing_it_again_is_no_error(name: str) -> None:
    namespaces.create(name)
    namespaces.remove(name)
    namespaces.remove(name)
    assert name not in namespaces.names()
    assert f"/run/netns/{name}" not in Path("/proc/self/mountinfo").read_text()


def test_a_name_that_is_taken_is_not_taken_over(name: str) -> None:
    namespaces.create(name)
    with pytest.raises(FileExistsError):
        namespaces.create(name)


def test_only_a_namespace_s_own_sysctls_can_be_set(name: str) -> None:
    inside = namespaces.Inside(namespaces.create(name))
    try:
        with pytest.raises(ValueError, match="the whole box"):
            inside.sysctl({"kernel/hostname": "oops"})
        inside.sysctl({"net/ipv4/ip_forward": "1"})
        assert inside.run(Path("/proc/sys/net/ipv4/ip_forward").read_text) == "1\n"
    finally:
        inside.close()


def test_outside_reaches_a_node_and_a_node_reaches_the_api_server_s_place(fabric: Fabric) -> None:
    node = fabric.plug("node-0", 0)
    try:
        with (
            node.listen("198.18.0.11", 30001) as at_node,
            fabric.inside.listen("198.18.0.1", 6443) as at_fabric,
            fabric.outside.dial("198.18.0.11", 30001, timeout_seconds=WAIT_SECONDS) as from_outside,
            node.dial("198.18.0.1", 6443, timeout_seconds=WAIT_SECONDS) as from_node,
        ):
            assert at_node.accept()[1] == from_outside.getsockname()
            assert from_outside.getsockname()[0] == "203.0.113.2"
            assert at_fabric.accept()[1] == from_node.getsockname()
    finally:
        node.close()
        fabric.unplug("node-0")


def test_a_node_that_refuses_is_told_from_one_that_is_silent(fabric: Fabric) -> None:
    node = fabric.plug("node-0", 0)
    try:
        with pytest.raises(ConnectionRefusedError):
            fabric.inside.dial("198.18.0.11", 10250, timeout_seconds=WAIT_SECONDS)
        configure(fabric.node_namespace("node-0"), ["route add blackhole 198.18.0.1"])
        with pytest.raises(TimeoutError):
            fabric.inside.dial("198.18.0.11", 10250, timeout_seconds=0.1)
    finally:
        node.close()
        fabric.unplug("node-0")


def test_an_unplugged_node_is_unreachable_at_once_and_can_be_plugged_in_again(fabric: Fabric) -> None:
    fabric.plug("node-0", 0).close()
    fabric.unplug("node-0")
    assert fabric.node_namespace("node-0") not in namespaces.names()
    again = fabric.plug("node-0", 0)
    try:
        with (
            again.listen("198.18.0.11", 10250),
            fabric.inside.dial("198.18.0.11", 10250, timeout_seconds=WAIT_SECONDS) as made,
        ):
            assert made.getpeername()[0] == "198.18.0.11"
    finally:
        again.close()
        fabric.unplug("node-0")


def test_a_line_that_iproute2_refuses_is_told_in_its_words(fabric: Fabric) -> None:
    with pytest.raises(NetworkFailure, match="Cannot find device"):
        configure(fabric.namespace, ["link set nowhere up"])


def test_a_line_that_the_kernel_refuses_does_not_cost_the_following_ones(name: str) -> None:
    namespaces.create(name)
    lines = ["route replace 198.51.100.1/32 via 203.0.113.9", "link add kept type bridge"]
    with pytest.raises(NetworkFailure):
        configure(name, lines, all_of_them=True)
    configure(name, ["link show kept"])
