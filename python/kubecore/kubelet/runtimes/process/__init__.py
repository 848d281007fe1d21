"""The process runtime: each container a process tree in namespaces of its own, made by one daemon per node.

`python -m kubecore.kubelet.runtimes.process --socket PATH --root DIR` is the daemon; `connect(PATH)` gives the kubelet its
`Runtime`. docs/design/process-runtime.md tells how a container comes about and what outlives what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubecore.kubelet.runtimes.process.client import ProcessRuntimeClient, connect

__all__ = ["ProcessRuntimeClient", "connect"]


def __getattr__(name: str) -> Any:
    # The daemon imports this package too and has no use for the client.
    if name in __all__:
        from kubecore.kubelet.runtimes.process import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
