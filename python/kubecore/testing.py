"""Pytest fixtures: a cluster of one's own for each test, or one shared by a session. Loaded by pytest wherever kubecore is installed.

    def test_a_deleted_pod_is_replaced(kubecore_cluster): ...

`kubecore_options` may be overridden by a fixture of the same name to choose nodes, admission plugins and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kubecore.cluster import Cluster, ClusterOptions


@pytest.fixture(scope="session")
def kubecore_options() -> ClusterOptions:
    """Two simulated nodes, nothing kept."""
    from kubecore.cluster import ClusterOptions

    return ClusterOptions(nodes=2, storage="memory")


@pytest.fixture
def kubecore_cluster(kubecore_options: ClusterOptions) -> Iterator[Cluster]:
    """A running cluster that ends with the test."""
    from kubecore.cluster import Cluster

    with Cluster(kubecore_options) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubecore_session_cluster(kubecore_options: ClusterOptions) -> Iterator[Cluster]:
    """A running cluster that ends with the session; tests keep apart by namespaces."""
    from kubecore.cluster import Cluster

    with Cluster(kubecore_options) as cluster:
        yield cluster
