"""What the server needs to know of the kubelet it belongs to, beside its pods and its runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubecore.api.clock import Clock
from kubecore.client import Client
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.runtimes.protocol import Runtime
from kubecore.kubelet.seams import Pods


class Page(Protocol):
    @property
    def content_type(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Pages(Protocol):
    """Pages that another room answers, such as the figures."""

    @property
    def PATHS(self) -> Sequence[str]: ...
    async def page(self, path: str, query: Mapping[str, str]) -> Page | None:
        """None: no such page."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One kubelet, as its server sees it. `names`: what the serving certificate stands for if the kubelet makes it itself. `unhealthy`:
    why /healthz fails, None while the kubelet's loop makes progress."""

    node_name: str
    names: Sequence[str]
    root_directory: Path
    log_directory: Path
    configuration: KubeletConfiguration
    client: Client
    pods: Pods
    runtime: Runtime
    clock: Clock
    pages: Sequence[Pages] = ()
    unhealthy: Callable[[], str | None] = lambda: None
