from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.process_runtime import POD_RANGE, Node, node


@pytest.fixture
async def on_node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node whose pods are on its own network."""
    async with node(tmp_path / "node") as made:
        yield made


@pytest.fixture
async def pod_node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with a pod range."""
    async with node(tmp_path / "node") as made:
        await made.runtime.update_runtime_config(POD_RANGE)
        yield made
