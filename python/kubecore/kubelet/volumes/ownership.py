"""fsGroup: a volume's files belong to the pod's group, and new ones will.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#set-the-security-context-for-a-pod
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kubecore.api.meta import Object
from kubecore.kubelet.resources import all_containers
from kubecore.kubelet.security import effective

_READ_WRITE = 0o660
_READ_ONLY = 0o440
_SEARCH = 0o110


def fs_group(pod: Object) -> int | None:
    group: int | None = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return group


def fs_user(pod: Object) -> int | None:
    """The one user as whom all containers run, if the pod says so: whom a token may belong to."""
    ephemeral = pod["spec"].get("ephemeralContainers") or ()
    users = {effective(pod, container).get("runAsUser") for container in (*all_containers(pod), *ephemeral)}
    return users.pop() if len(users) == 1 else None


def set_group(root: Path, group: int | None, *, readonly: bool) -> None:
    """Everything in `root` and itself: the group, its right to read (and write), and set-group-id on directories."""
    if group is None:
        return
    for parent, directories, files in os.walk(root, topdown=False):
        for name in (*files, *directories):
            _set(Path(parent, name), group, readonly=readonly)
    _set(root, group, readonly=readonly)


def _set(path: Path, group: int, *, readonly: bool) -> None:
    os.chown(path, -1, group, follow_symlinks=False)
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return
    bits = _READ_ONLY if readonly else _READ_WRITE
    if stat.S_ISDIR(mode):
        bits |= _SEARCH | stat.S_ISGID
    path.chmod(stat.S_IMODE(mode) | bits)
