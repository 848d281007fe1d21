"""The door to the scheduling kernel: the only module here that names the extension."""

from __future__ import annotations

from kubecore._core import Failure, Kernel, PodChange

Decision = tuple[str, str | None, Failure | None]
"""(key, node, None): assumed on that node. (key, None, failure): fits nowhere. (key, None, None): no longer pending."""

__all__ = ["Decision", "Failure", "Kernel", "PodChange"]
