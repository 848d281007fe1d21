"""The pods' cgroups: each pod one, below its class, below /kubepods; made before its sandbox, removed after its containers.

```
ROOT/kubepods                      cpu.shares: the node's CPUs
ROOT/kubepods/pod<uid>             Guaranteed
ROOT/kubepods/burstable/pod<uid>   cpu.shares of `burstable`: what its pods request together
ROOT/kubepods/besteffort/pod<uid>  cpu.shares of `besteffort`: the least
```
"""

from __future__ import annotations

from kubecore.api.amounts import pod_amounts
from kubecore.api.meta import Object, uid_of
from kubecore.kubelet.cgroups import Cgroups
from kubecore.kubelet.resources import (
    SHARES_MIN,
    Enforcement,
    QoSClass,
    milli,
    pod_cgroup,
    pod_resources,
    qos_cgroup,
    qos_class,
    shares_of,
)
from kubecore.kubelet.runtimes.protocol import LinuxResources

_CLASSES: tuple[QoSClass, ...] = ("Guaranteed", "Burstable", "BestEffort")


class PodCgroups:
    """`root`: the node's cgroup root, "" for the machine's. `cpus`: the node's."""

    def __init__(self, cgroups: Cgroups, *, root: str, enforcement: Enforcement, cpus: int) -> None:
        self._cgroups = cgroups
        self._root = root
        self._enforcement = enforcement
        self._cpus = cpus
        self._requests: dict[str, int] = {}
        """Millicores requested by each burstable pod."""
        self._written: dict[str, LinuxResources] = {}

    def ensure(self, pod: Object) -> str:
        """The pod's cgroup is there and has its limits; gives its path. Cheap to repeat. Raises OSError."""
        path, resources = pod_cgroup(pod, root=self._root), pod_resources(pod, self._enforcement)
        if self._written.get(path) == resources and self._cgroups.exists(path):
            return path
        self._cgroups.make(path)
        self._cgroups.limit(path, resources)
        self._written[path] = resources
        if qos_class(pod) == "Burstable":
            self._requests[uid_of(pod)] = milli(pod_amounts(pod, "requests").get("cpu"))
        self._share()
        return path

    def remove(self, uid: str) -> bool:
        """False: something still runs there; ask again. Of whichever class the pod was."""
        gone = True
        for qos in _CLASSES:
            path = f"{qos_cgroup(qos, root=self._root)}/pod{uid}"
            self._written.pop(path, None)
            if self._cgroups.exists(path):
                self._cgroups.kill(path)
                gone = self._cgroups.remove(path) and gone
        if self._requests.pop(uid, None) is not None:
            self._share()
        return gone

    def _share(self) -> None:
        """CPU among the classes, as upstream shares it."""
        wanted = {
            "Guaranteed": shares_of(self._cpus * 1000),
            "Burstable": shares_of(sum(self._requests.values())),
            "BestEffort": SHARES_MIN,
        }
        for qos in _CLASSES:
            path, resources = qos_cgroup(qos, root=self._root), LinuxResources(cpu_shares=wanted[qos])
            if self._written.get(path) != resources:
                self._cgroups.make(path)
                self._cgroups.limit(path, resources)
                self._written[path] = resources
