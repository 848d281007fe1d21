"""A daemon of the process runtime on a node of its own: mount and network namespaces that nothing else is in.

The namespaces are held by a process that sleeps, so that the daemon can be killed and started again on the same node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from kubecore.kubelet.cgroups import detect
from kubecore.kubelet.runtimes.process import ProcessRuntimeClient, connect
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    NamespaceMode,
    NamespaceOptions,
    RuntimeFailure,
    SandboxConfig,
    SandboxMetadata,
    SandboxSecurity,
)

ROOT = Path(__file__).resolve().parents[2]
POD_RANGE = "10.244.7.0/24"
READY_WITHIN_SECONDS = 20.0
HOLD = "ip link set lo up; echo; exec sleep 3600"
ON_NODE = SandboxSecurity(namespaces=NamespaceOptions(network=NamespaceMode.NODE))


class Node:
    """One daemon, its client, and what a test needs to say about pods in few words."""

    """`arguments` are the daemon's; `before` is what a shell does first in the new namespaces."""

    def __init__(self, directory: Path, *arguments: str, before: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.socket = directory / "runtime.sock"
        self.root = directory / "state"
        self.cgroup_root = f"/kubecore-test-{secrets.token_hex(4)}"
        self.runtime: ProcessRuntimeClient = connect(self.socket)
        self._arguments = arguments
        self._log = open(directory / "daemon.log", "ab")  # noqa: SIM115, closed by `remove`
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-ec", f"{before}\n{HOLD}"],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def daemon_pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid

    def command(self, *command: str) -> list[str]:
        """The command in the node's namespaces."""
        return ["nsenter", "--mount", "--net", "-t", str(self._holder.pid), *command]

    def run(self, *command: str) -> str:
        return subprocess.run(self.command(*command), check=True, capture_output=True, text=True).stdout

    async def start(self) -> None:
        words = [sys.executable, "-m", "kubecore.kubelet.runtimes.process", "--socket", str(self.socket)]
        words += ["--root", str(self.root), "--cgroup-root", self.cgroup_root, *self._arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        self._daemon = self._spawn(words, environment)
        await self._until_answered()

    def _spawn(self, words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(*words), stderr=self._log, env=environment)

    async def _until_answered(self) -> None:
        async def answers() -> bool:
            try:
                await self.runtime.version()
            except RuntimeFailure:
                assert self._daemon is not None
                assert self._daemon.poll() is None, read(self._log.name)
                return False
            return True

        await until(answers)

    def kill(self) -> None:
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGKILL)
        self._daemon.wait()

    @contextlib.asynccontextmanager
    async def for_a_test(self, directory: Path) -> AsyncIterator[None]:
        """A client of this test's loop, a directory of its own; pods that it leaves are removed."""
        self.directory = directory
        self.runtime = connect(self.socket)
        if self._daemon is None:
            await self.start()
        try:
            yield
        finally:
            await self._clear()
            await self.runtime.close()

    async def _clear(self) -> None:
        with contextlib.suppress(RuntimeFailure):
            for sandbox in await self.runtime.list_pod_sandboxes():
                await self.runtime.remove_pod_sandbox(sandbox.id)

    def close(self) -> None:
        """The daemon, and whatever a failed test has left."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait()
        cgroups = detect()
        cgroups.kill(self.cgroup_root)
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        self._log.close()
        assert cgroups.remove(self.cgroup_root)

    # ── pods ──

    def config(self, name: str = "web", **more: object) -> SandboxConfig:
        given = {"log_directory": str(self.directory / "logs" / name), "security": ON_NODE, **more}
        return SandboxConfig(metadata=SandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"), **given)  # type: ignore[arg-type]

    async def sandbox(self, name: str = "web", **more: object) -> str:
        return await self.runtime.run_pod_sandbox(self.config(name, **more))

    async def created(
        self,
        sandbox: str,
        script: str,
        *,
        name: str = "main",
        image: str = "busybox",
        pull: bool = True,
        **more: object,
    ) -> str:
        if pull:
            await self.runtime.pull_image(image, None)
        given = {"command": ("sh", "-c", script), "log_path": f"{name}/0.log", **more}
        config = ContainerConfig(metadata=ContainerMetadata(name=name), image=image, **given)  # type: ignore[arg-type]
        return await self.runtime.create_container(sandbox, config)

    async def started(self, sandbox: str, script: str, **more: object) -> str:
        made = await self.created(sandbox, script, **more)  # type: ignore[arg-type]
        await self.runtime.start_container(made)
        return made

    async def ended(self, container: str) -> Container:
        async def has_ended() -> bool:
            return (await self.runtime.container_status(container)).state is ContainerState.EXITED

        await until(has_ended)
        return await self.runtime.container_status(container)

    async def says(self, container: str, text: str) -> None:
        """Waits until the container's log has it."""
        path = (await self.runtime.container_status(container)).log_path

        async def has_said() -> bool:
            return text in read(path)

        await until(has_said)

    async def output(self, script: str, **more: object) -> str:
        """What a container on the node's network that runs the script to its end has printed, both streams in order."""
        sandbox = await self.sandbox(name=f"pod-{secrets.token_hex(3)}")
        container = await self.started(sandbox, script, **more)
        ended = await self.ended(container)
        text = "".join(f"{line}\n" for _, _, line in log_lines(ended.log_path))
        await self.runtime.remove_pod_sandbox(sandbox)
        return text


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Real processes have no clock of ours to advance: asks again every hundredth of a second."""
    async with asyncio.timeout(READY_WITHIN_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.01)


def read(path: str | Path) -> str:
    """ "" if it is not there yet."""
    return Path(path).read_text() if os.path.exists(path) else ""


@contextlib.asynccontextmanager
async def node(directory: Path, *arguments: str) -> AsyncIterator[Node]:
    made = Node(directory, *arguments)
    try:
        async with made.for_a_test(directory):
            yield made
    finally:
        made.close()


def log_lines(path: str | Path) -> list[tuple[str, str, str]]:
    """(stream, F or P, text) of each line."""
    rows = [line.split(" ", 3) for line in read(path).splitlines()]
    return [(row[1], row[2], row[3]) for row in rows]
