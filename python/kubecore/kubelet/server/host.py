"""What the server needs to know of the kubelet it belongs to. Containers, their states and log files it asks of the runtime itself,
by the labels that every kubelet gives them (`runtimes.protocol.labels_of`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

Object = dict[str, Any]


class Host(Protocol):
    """One kubelet, as its server sees it. Nothing here blocks."""

    @property
    def node_name(self) -> str: ...

    @property
    def log_directory(self) -> Path:
        """Where this node keeps its own logs, shown below /logs/ (upstream: /var/log)."""
        ...

    def pods(self) -> Sequence[Object]:
        """Every pod of this node that the kubelet knows, static ones by their own uid, each with its newest status."""
        ...

    def configuration(self) -> Object:
        """The KubeletConfiguration in effect, for /configz."""
        ...

    def unhealthy(self) -> str | None:
        """Why /healthz fails, None while the kubelet's loop makes progress."""
        ...
