"""The socket: who may not disturb whom, and what happens at the bounds."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
import subprocess
import sys

import msgspec
import pytest

from kubecore.kubelet.runtimes.process import connect, wire
from kubecore.kubelet.runtimes.process.service import EVENTS_MAX, Subscription
from kubecore.kubelet.runtimes.protocol import ContainerEvent, EventKind, RuntimeCode, RuntimeFailure
from support.process_runtime import ROOT, Node


async def _answer_to(node: Node, data: bytes) -> bytes:
    """What the daemon says to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_unix_connection(str(node.socket))
    writer.write(data)
    await writer.drain()
    try:
        answer = await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        # It left some of them unread.
        answer = b""
    writer.close()
    return answer


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!I", 1 << 30) + b"x",
        wire.frame({"kind": 7}),
        wire.frame("no opening"),
        struct.pack("!I", 3) + b"\xc1\xc1\xc1",
        wire.frame(wire.Opening(kind="calls")) + wire.frame("no request"),
    ],
)
async def test_what_is_no_message_ends_its_own_connection_only(on_node: Node, data: bytes) -> None:
    assert await _answer_to(on_node, data) == b""
    assert (await on_node.runtime.version()).runtime_name == "kubecore-process"


async def test_a_stream_of_an_unknown_kind_is_refused(on_node: Node) -> None:
    answer = await _answer_to(on_node, wire.frame(wire.Opening(kind="dance")))
    failure = msgspec.msgpack.decode(answer[4:], type=wire.StreamsAnswer).failure
    assert failure == wire.Failure("InvalidArgument", "no such stream: dance")


async def test_a_call_with_wrong_arguments_is_refused_in_words(on_node: Node) -> None:
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.container_status(7)  # type: ignore[arg-type]
    assert failed.value.code is RuntimeCode.INVALID_ARGUMENT
    assert "container_status: Expected `str`, got `int`" in failed.value.message


async def test_the_socket_is_for_root_only(on_node: Node) -> None:
    assert oct(stat.S_IMODE(on_node.socket.stat().st_mode)) == "0o600"


async def test_a_daemon_that_is_not_there_is_unavailable(on_node: Node) -> None:
    nobody = connect(on_node.directory / "nosuch.sock")
    for call in (nobody.version(), nobody.exec_sync("a", ["b"], 1), anext(nobody.events())):
        with pytest.raises(RuntimeFailure) as failed:
            await call
        assert failed.value.code is RuntimeCode.UNAVAILABLE


async def test_a_second_daemon_on_the_same_directory_is_refused(on_node: Node) -> None:
    words = [sys.executable, "-m", "kubecore.kubelet.runtimes.process", "--root", str(on_node.root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    command = on_node.command(*words, "--socket", str(on_node.directory / "other.sock"))
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, env=environment)
    assert (told.returncode, "another runtime uses" in told.stderr) == (1, True)


async def test_images_are_listed_by_the_command(on_node: Node) -> None:
    await on_node.runtime.pull_image("busybox:1.36", None)
    words = [sys.executable, "-m", "kubecore_cli", "image", "list", "--socket", str(on_node.socket)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    told = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, env=environment)
    assert "docker.io/library/busybox:1.36" in told.stdout


async def test_a_reader_of_events_that_is_too_far_behind_is_told_to_list_again() -> None:
    event = ContainerEvent(kind=EventKind.CREATED, container_id="c", sandbox_id="s", pod_uid="u", created_at=1)
    subscription = Subscription()
    for _ in range(EVENTS_MAX):
        subscription.give(event)
    assert await subscription.next() == event
    subscription.give(event)
    subscription.give(event)
    assert await subscription.next() is None
