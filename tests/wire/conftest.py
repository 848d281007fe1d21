"""One cluster for all wire tests of a worker; each test has a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kubectl import VERSIONS, Kubectl
from tests.support.processes import Up, up

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("cluster"), "--nodes", "2", "--storage", "memory") as running:
        yield running


@pytest.fixture(params=["", *VERSIONS], ids=lambda version: f"kubectl-{version or 'stock'}")
def any_kubectl(request: pytest.FixtureRequest, cluster: Up) -> Kubectl:
    """Each kubectl in turn."""
    return Kubectl(cluster.kubeconfig, request.param)


@pytest.fixture
def kubectl(cluster: Up) -> Kubectl:
    """The machine's own kubectl."""
    return Kubectl(cluster.kubeconfig)


@pytest.fixture
def namespace(cluster: Up) -> Iterator[str]:
    name = f"wire-{next(_numbers)}"
    kubectl = Kubectl(cluster.kubeconfig)
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def examples() -> Path:
    return Path(__file__).resolve().parents[2] / "examples"
