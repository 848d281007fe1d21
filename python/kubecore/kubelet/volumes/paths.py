"""Where things are below a kubelet's root directory: upstream's places, so that people and tools find them."""

from __future__ import annotations

from pathlib import Path


def pod_directory(root: Path, uid: str) -> Path:
    return root / "pods" / uid


def volume_directory(root: Path, uid: str, plugin: str, name: str) -> Path:
    """`plugin`: `kubernetes.io/configmap`."""
    return pod_directory(root, uid) / "volumes" / plugin.replace("/", "~") / name


def ready_marker(root: Path, uid: str, name: str) -> Path:
    """There once an emptyDir has been made: what a container did to it later is left alone."""
    return pod_directory(root, uid) / "plugins" / "kubernetes.io~empty-dir" / name / "ready"


def subpath_target(root: Path, uid: str, volume: str, container: str, index: int) -> Path:
    return pod_directory(root, uid) / "volume-subpaths" / volume / container / str(index)
