"""Where a kubelet keeps what on disk: upstream's layout below its root and its log directory."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubecore.api.meta import Object


@dataclass(frozen=True, slots=True)
class Directories:
    root: Path
    pod_logs: Path

    def pod(self, uid: str) -> Path:
        return self.root / "pods" / uid

    def etc_hosts(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def pod_log(self, pod: Object) -> Path:
        metadata = pod["metadata"]
        return self.pod_logs / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"

    def container_log(self, pod: Object, name: str, attempt: int) -> str:
        """Relative to the pod's log directory."""
        return f"{name}/{attempt}.log"

    def make_pod(self, pod: Object) -> None:
        """The pod's own directory and its log directory."""
        uid = pod["metadata"]["uid"]
        for each in (self.pod(uid), self.pod(uid) / "volumes", self.pod(uid) / "plugins"):
            each.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.pod_log(pod).mkdir(parents=True, exist_ok=True, mode=0o755)

    def make_container(self, pod: Object, name: str) -> None:
        (self.pod(pod["metadata"]["uid"]) / "containers" / name).mkdir(parents=True, exist_ok=True, mode=0o750)
        (self.pod_log(pod) / name).mkdir(parents=True, exist_ok=True, mode=0o755)

    def new_termination_log(self, pod: Object, name: str) -> Path:
        """An empty file that anybody in the container may write."""
        path = self.pod(pod["metadata"]["uid"]) / "containers" / name / secrets.token_hex(4)
        path.touch()
        path.chmod(0o666)
        return path

    def next_attempt(self, pod: Object, name: str) -> int:
        """One more than the last log's number: for a runtime that has forgotten its containers."""
        logs = (self.pod_log(pod) / name).glob("*.log")
        return max((int(each.stem) for each in logs if each.stem.isdecimal()), default=-1) + 1

    def remove_logs(self, pod: Object) -> None:
        shutil.rmtree(self.pod_log(pod), ignore_errors=True)

    def remove_orphaned_logs(self, is_known: Callable[[str], bool]) -> None:
        """Of pods that nobody knows: a kubelet was ended before it could remove them."""
        if not self.pod_logs.is_dir():
            return
        for each in list(self.pod_logs.iterdir()):
            _, _, uid = each.name.rpartition("_")
            if each.name.count("_") == 2 and not is_known(uid):
                shutil.rmtree(each, ignore_errors=True)

    def remove_container_log(self, log_path: str) -> None:
        """A log and what was rotated out of it."""
        if not log_path:
            return
        path = Path(log_path)
        for each in [path, *path.parent.glob(f"{path.name}.*")]:
            each.unlink(missing_ok=True)
