"""One node's process tree, seen from outside: switched on, killed, switched on again.

`nsenter` puts it into its network, `unshare` gives it pids, mounts, a host name and System V objects of its own; the supervisor is pid 1 in
there. This process's death kills `unshare`, whose death kills the supervisor, whose death is the node's (pid_namespaces(7)):
each by the kernel, so no node outlives its cluster, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kubecore.apiserver.access.certificates import Certificates
from kubecore.cluster.machines import claim, namespaces, supervisor, units
from kubecore.cluster.machines.fabric import Fabric
from kubecore.cluster.machines.units import Node
from kubecore.kubelet import cgroups

START_SECONDS = 30.0
STOP_SECONDS = 12.0
"""Its units are asked to end one after the other; then it is killed."""
PR_SET_PDEATHSIG = 1

_prctl = ctypes.CDLL(None).prctl
"""Looked up here: between fork and exec nothing may be loaded."""

log = logging.getLogger(__name__)


class MachineFailure(OSError):
    """A node could not be switched on."""


class Machine:
    """`start`, then `kill` or `stop`; and again, any number of times. Calls belong to one event loop."""

    def __init__(self, node: Node, index: int, *, fabric: Fabric, certificates: Certificates) -> None:
        self.node = node
        self._index = index
        self._fabric = fabric
        self._certificates = certificates
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._is_wanted = False

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def namespace(self) -> Path:
        """Its network, by name: `ip netns exec`."""
        return namespaces.DIRECTORY / self._fabric.node_namespace(self.name)

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Returns when its units have been started; that the node is Ready, the API tells. Raises MachineFailure."""
        if self.is_on:
            return
        if self._watch is not None:
            # It went down a moment ago: its wires must be cut before they are laid again.
            await self._watch
        wanted = units.write(self.node, self._certificates)
        units_file = self.node.state / "units.json"
        units_file.write_text(
            json.dumps([{"name": each.name, "command": list(each.command), "log": each.log} for each in wanted])
        )
        await asyncio.to_thread(self._fabric.plug, self.name, self._index)
        groups, system = cgroups.detect(), f"{self.node.cgroup}/system"
        groups.make(system)
        entrances = groups.join_files(system)
        process = await asyncio.create_subprocess_exec(
            *(_tool("nsenter"), f"--net={self.namespace}"),
            *(_tool("unshare"), "--pid", "--fork", "--kill-child=SIGKILL", "--mount", "--mount-proc", "--uts", "--ipc"),
            # By its file: it knows the standard library only, and stays small.
            *(sys.executable, "-I", supervisor.__file__, self.name, str(units_file)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=lambda: _enter(entrances),
        )
        self._process, self._is_wanted = process, True
        self._watch = asyncio.create_task(self._clean_up_after(process), name=f"machine {self.name}")
        assert process.stdout is not None, "asked for above"
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if line != b"ready\n":
            await self.kill()
            raise MachineFailure(f"{self.name} could not be started: its supervisor ended before its units ran")

    async def kill(self) -> None:
        """As when the power goes: every process of the node ends at once, its network is gone. Returns then."""
        self._is_wanted = False
        if self._process is not None and self._watch is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._watch

    async def stop(self) -> None:
        """Asks the units to end, then kills what is left."""
        self._is_wanted = False
        if self._process is None or self._watch is None:
            return
        assert self._process.stdin is not None, "asked for above"
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.shield(self._watch)
        except TimeoutError:
            log.warning("%s did not end in time and is killed", self.name)
            await self.kill()

    async def _clean_up_after(self, process: asyncio.subprocess.Process) -> None:
        """However the machine ends: its wires are cut, its cgroup is gone, it may be switched on again."""
        await process.wait()
        if self._is_wanted:
            log.error("%s went down: its supervisor ended with %s", self.name, process.returncode)
        await asyncio.to_thread(self._take_down)

    def _take_down(self) -> None:
        self._fabric.unplug(self.name)
        claim.remove_cgroup(self.node.cgroup)
        shutil.rmtree(self.node.sockets, ignore_errors=True)


def _enter(entrances: Sequence[str]) -> None:
    """In the child, before it is anything: not reached by a terminal's Ctrl-C, dies with us, is counted for the node."""
    os.setpgid(0, 0)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for entrance in entrances:
        descriptor = os.open(entrance, os.O_WRONLY)
        os.write(descriptor, b"0")
        os.close(descriptor)


def _tool(name: str) -> str:
    """Where it is; a node needs it (`preconditions`)."""
    return shutil.which(name) or name
