"""exec, attach and port forwarding: bytes both ways, exit codes, terminals, what ends when a stream is closed."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import cast

import pytest

from kubecore.kubelet.cgroups import detect
from kubecore.kubelet.runtimes.process import connect, server
from kubecore.kubelet.runtimes.process.service import Opened, ProcessRuntime
from kubecore.kubelet.runtimes.protocol import RuntimeCode, RuntimeFailure, SandboxSecurity, Streams
from support.process_runtime import Node, log_lines, until

SLEEP = "exec sleep 1000"
ECHO = """
import socket
server = socket.create_server(("127.0.0.1", 8080))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    while data := connection.recv(65536):
        connection.sendall(data.upper())
    connection.close()
"""


async def _all(streams: Streams) -> tuple[bytes, bytes]:
    async def drain(read: object) -> bytes:
        data = b""
        while more := await read():  # type: ignore[operator]
            data += more
        return data

    out, err = await asyncio.gather(drain(streams.read_stdout), drain(streams.read_stderr))
    return out, err


async def test_exec_sync_gives_both_outputs_and_the_exit_code(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), SLEEP, envs=(("WHO", "me"),))
    result = await on_node.runtime.exec_sync(container, ["sh", "-c", "echo $WHO; echo err >&2; exit 4"], 10)
    assert (result.stdout, result.stderr, result.exit_code) == (b"me\n", b"err\n", 4)
    seen = await on_node.runtime.exec_sync(container, ["ps", "-e", "-o", "pid,args"], 10)
    assert b"1 sleep 1000" in seen.stdout


async def test_exec_sync_that_takes_too_long_is_killed(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(sandbox, SLEEP)
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.exec_sync(container, ["sleep", "500"], 0.2)
    assert failed.value.code is RuntimeCode.DEADLINE_EXCEEDED

    async def is_gone() -> bool:
        return len(detect().processes(f"{on_node.cgroup_root}/{sandbox}")) == 1

    await until(is_gone)


async def test_exec_of_what_is_not_there_says_so(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), SLEEP)
    with pytest.raises(RuntimeFailure, match=r'exec: "nosuch": executable file not found in \$PATH: unknown'):
        await on_node.runtime.exec_sync(container, ["nosuch"], 10)


async def test_exec_in_a_container_that_ended_fails(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), "exit 0")
    await on_node.ended(container)
    with pytest.raises(RuntimeFailure, match="container is in CONTAINER_EXITED state"):
        await on_node.runtime.exec_sync(container, ["true"], 10)


async def test_exec_copies_a_large_input(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), SLEEP)
    data = bytes(range(256)) * 16384
    streams = await on_node.runtime.exec(container, ["cat"], stdin=True, stdout=True, stderr=True, tty=False)

    async def write() -> None:
        await streams.write_stdin(data)
        await streams.close_stdin()

    writing = asyncio.ensure_future(write())
    out, _ = await _all(streams)
    await writing
    assert out == data
    assert await streams.wait() == 0
    await streams.close()


async def test_closing_an_exec_kills_its_process(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(sandbox, SLEEP)
    streams = await on_node.runtime.exec(container, ["sleep", "500"], stdin=False, stdout=True, stderr=True, tty=False)
    assert len(detect().processes(f"{on_node.cgroup_root}/{sandbox}")) == 2
    await streams.close()

    async def is_gone() -> bool:
        return len(detect().processes(f"{on_node.cgroup_root}/{sandbox}")) == 1

    await until(is_gone)


async def test_an_exec_with_a_terminal_is_resized_and_hung_up(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), SLEEP)
    script = "trap 'stty size; exit 5' WINCH; tty; echo $TERM; while true; do sleep 0.05; done"
    streams = await on_node.runtime.exec(
        container, ["sh", "-c", script], stdin=True, stdout=True, stderr=False, tty=True
    )
    seen = b""
    while b"xterm" not in seen:
        seen += await streams.read_stdout()
    assert b"/dev/pts/0" in seen
    await streams.resize(132, 43)
    out, err = await _all(streams)
    assert (out.strip(), err) == (b"43 132", b"")
    assert await streams.wait() == 5
    await streams.close()


async def test_attach_gives_output_from_now_on_and_takes_input_once(on_node: Node) -> None:
    container = await on_node.created(
        await on_node.sandbox(),
        "read line; echo got $line; read more || echo end of input",
        stdin=True,
        stdin_once=True,
    )
    await on_node.runtime.start_container(container)
    streams = await on_node.runtime.attach(container, stdin=True, stdout=True, stderr=True, tty=False)
    await streams.write_stdin(b"hello\n")
    assert await streams.read_stdout() == b"got hello\n"
    await streams.close()
    ended = await on_node.ended(container)
    assert log_lines(ended.log_path) == [("stdout", "F", "got hello"), ("stdout", "F", "end of input")]


async def test_who_leaves_a_silent_container_leaves_no_handle_behind(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), "sleep 60")

    async def attach_and_leave() -> None:
        streams = await on_node.runtime.attach(container, stdin=False, stdout=True, stderr=True, tty=False)
        await streams.close()

    def handles() -> int:
        return len(os.listdir(f"/proc/{on_node.daemon_pid}/fd"))

    await attach_and_leave()
    before = handles()
    for _ in range(20):
        await attach_and_leave()

    async def as_before() -> bool:
        return handles() <= before

    await until(as_before)


async def test_waiting_for_an_attach_takes_nothing_from_its_reader(on_node: Node) -> None:
    script = "read line; i=0; while test $i -lt 200; do echo line $i; i=$((i+1)); done"
    container = await on_node.created(await on_node.sandbox(), script, stdin=True)
    await on_node.runtime.start_container(container)
    streams = await on_node.runtime.attach(container, stdin=True, stdout=True, stderr=True, tty=False)
    waiting = asyncio.ensure_future(streams.wait())
    await streams.write_stdin(b"go\n")
    out, _ = await _all(streams)
    assert out.decode().split("\n")[:-1] == [f"line {i}" for i in range(200)]
    assert await waiting == 0
    await streams.close()


async def test_an_attach_without_output_ends_with_the_container(on_node: Node) -> None:
    container = await on_node.created(await on_node.sandbox(), "read line", stdin=True)
    await on_node.runtime.start_container(container)
    streams = await on_node.runtime.attach(container, stdin=True, stdout=False, stderr=False, tty=False)
    await streams.write_stdin(b"go\n")
    assert await streams.wait() == 0
    await streams.close()


async def test_a_port_of_the_other_loopback_is_forwarded_too(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(security=SandboxSecurity())
    program = ECHO.replace('create_server(("127.0.0.1", 8080))', 'create_server(("::1", 8080), family=socket.AF_INET6)')
    container = await pod_node.started(sandbox, "", command=("/usr/bin/python3", "-c", program))
    await pod_node.says(container, "listening")
    streams = await pod_node.runtime.port_forward(sandbox, 8080)
    await streams.write_stdin(b"hello")
    assert await streams.read_stdout() == b"HELLO"
    await streams.close()


async def test_attach_to_a_terminal_talks_and_leaves_it_running(on_node: Node) -> None:
    container = await on_node.created(
        await on_node.sandbox(), "while read line; do echo got $line; done", stdin=True, tty=True
    )
    await on_node.runtime.start_container(container)
    streams = await on_node.runtime.attach(container, stdin=True, stdout=True, stderr=False, tty=True)
    await streams.write_stdin(b"hello\n")
    seen = b""
    while b"got hello" not in seen:
        seen += await streams.read_stdout()
    await streams.close()
    again = await on_node.runtime.attach(container, stdin=True, stdout=True, stderr=False, tty=True)
    await again.write_stdin(b"\x04")
    while await again.read_stdout():
        pass
    assert await again.wait() == 0
    await again.close()
    assert (await on_node.ended(container)).exit_code == 0


async def test_a_port_is_forwarded_into_the_pods_network(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(security=SandboxSecurity())
    container = await pod_node.started(sandbox, "", command=("/usr/bin/python3", "-c", ECHO))
    await pod_node.says(container, "listening")
    streams = await pod_node.runtime.port_forward(sandbox, 8080)
    await streams.write_stdin(b"hello")
    assert await streams.read_stdout() == b"HELLO"
    await streams.close_stdin()
    assert await streams.read_stdout() == b""
    await streams.close()


async def test_a_port_where_nobody_listens_is_refused(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(security=SandboxSecurity())
    with pytest.raises(RuntimeFailure, match="connection refused"):
        await pod_node.runtime.port_forward(sandbox, 81)


async def test_forwarded_ports_leave_connections_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forwarding:
        """Of a runtime, what forwards."""

        async def open_port_forward(self, sandbox_id: str, port: int) -> Opened:
            ours, theirs = socket.socketpair()
            ours.close()
            return Opened({"connection": theirs.detach()})

    monkeypatch.setattr(server, "PORT_FORWARDS_MAX", 1)
    listening = server.Server(cast(ProcessRuntime, Forwarding()), tmp_path / "socket")
    serving = asyncio.create_task(listening.serve())
    client = connect(tmp_path / "socket")
    first = await client.port_forward("pod", 80)
    with pytest.raises(RuntimeFailure, match="too many connections are forwarded on this node"):
        await client.port_forward("pod", 80)
    await first.close()

    async def has_room() -> bool:
        try:
            await (await client.port_forward("pod", 80)).close()
        except RuntimeFailure:
            return False
        return True

    await until(has_room)
    serving.cancel()
    listening.close()
    await client.close()
