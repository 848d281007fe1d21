"""What the daemon knows about sandboxes and containers, on disk, so that another daemon can go on.

One file each, replaced as a whole by a rename. Not synced: after the machine itself died nothing of it is left to manage, and
a file that cannot be read is treated like one that is not there.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from kubecore.kubelet.runtimes.protocol import Container, ContainerConfig, Sandbox, SandboxConfig

_FILE = "record"
_logger = logging.getLogger(__name__)


class SandboxRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`cgroup`: the parent of the containers' cgroups; `own_cgroup`: made by us, so removed by us. `pause`: pid and start time of what
    holds a shared pid namespace, 0 without. `address` is "" on the node's network or without one."""

    sandbox: Sandbox
    config: SandboxConfig
    cgroup: str
    own_cgroup: bool
    address: str = ""
    pause_pid: int = 0
    pause_started_ticks: int = 0


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`pid` and `started_ticks` name the process for certain, also for another daemon. `layers`: of the image when it was created.
    `argv` and the rest are resolved from config and image."""

    container: Container
    config: ContainerConfig
    cgroup: str
    layers: tuple[str, ...]
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    user: str
    working_dir: str
    stop_signal: int
    started_ticks: int = 0


Record = TypeVar("Record", SandboxRecord, ContainerRecord)


class Records(Generic[Record]):
    """Records of one kind below `directory`, each in a folder of its id that holds whatever else it owns."""

    def __init__(self, directory: Path, kind: type[Record]) -> None:
        self._directory = directory
        self._kind: type[Record] = kind
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(kind)
        directory.mkdir(parents=True, exist_ok=True, mode=0o711)

    def folder(self, identity: str) -> Path:
        return self._directory / identity

    def make(self, identity: str) -> Path:
        folder = self.folder(identity)
        folder.mkdir(mode=0o711)
        return folder

    def save(self, identity: str, record: Record) -> None:
        target = os.path.join(self._directory, identity, _FILE)
        with open(target + ".new", "wb") as file:
            file.write(self._encoder.encode(record))
        os.replace(target + ".new", target)

    def load(self, release: Callable[[Path], None]) -> dict[str, Record]:
        """What can be read; what cannot is released and removed: nobody knows what it was."""
        found: dict[str, Record] = {}
        for folder in sorted(self._directory.iterdir()):
            try:
                found[folder.name] = self._decoder.decode((folder / _FILE).read_bytes())
            except (FileNotFoundError, msgspec.DecodeError) as failed:
                _logger.warning("%s is not a record and goes: %s", folder, failed)
                release(folder)
                self.remove(folder.name)
        return found

    def remove(self, identity: str) -> None:
        shutil.rmtree(self.folder(identity), ignore_errors=True)
