"""The only module that names `_core.Door`: what crosses between Rust and Python at the front door."""

from __future__ import annotations

from kubecore._core import Allow, Answer, Call, Door, Forward, LocalWatch, Notifier, Reply, Store

__all__ = ["Allow", "Answer", "Call", "Door", "Forward", "LocalWatch", "Notifier", "Reply", "Store"]
