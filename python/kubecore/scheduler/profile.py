"""Whose pods are ours, and how lots are drawn.

One profile, upstream's default: the plugins and weights are the kernel's table.
Source: https://kubernetes.io/docs/reference/scheduling/config/
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """`seed` decides between equally good nodes."""

    scheduler_name: str = "default-scheduler"
    seed: int = 0
