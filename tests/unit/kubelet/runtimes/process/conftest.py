from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.process_runtime import POD_RANGE, Node, node


@pytest.fixture(scope="session")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One daemon for all tests that leave it as it was; without a pod range."""
    made = Node(tmp_path_factory.mktemp("node"))
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="session")
def shared_pod_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Another, whose node gets a pod range."""
    made = Node(tmp_path_factory.mktemp("pod-node"))
    with contextlib.closing(made):
        yield made


@pytest.fixture
async def on_node(shared_node: Node, tmp_path: Path) -> AsyncIterator[Node]:
    """A node whose pods are on its own network."""
    async with shared_node.for_a_test(tmp_path):
        yield shared_node


@pytest.fixture
async def pod_node(shared_pod_node: Node, tmp_path: Path) -> AsyncIterator[Node]:
    """A node with a pod range."""
    async with shared_pod_node.for_a_test(tmp_path):
        await shared_pod_node.runtime.update_runtime_config(POD_RANGE)
        yield shared_pod_node


@pytest.fixture
async def own_node(tmp_path: Path) -> AsyncIterator[Node]:
    """As `on_node`, for a test that kills the daemon or changes it for good."""
    async with node(tmp_path / "node") as made:
        yield made


@pytest.fixture
async def own_pod_node(own_node: Node) -> Node:
    """As `pod_node`, likewise."""
    await own_node.runtime.update_runtime_config(POD_RANGE)
    return own_node
