"""`kubecore cp FROM TO`: files into a container and out of it, by the tar that is in it."""

from __future__ import annotations

import asyncio
import os
import posixpath
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import click

from kubecore_cli import pod_target, remote
from kubecore_cli.pod_target import PodTarget
from kubecore_cli.session import Session, command

IN_MEMORY_BYTES = 16 * 1024 * 1024
"""Of what comes out of a container, before it waits in a file until it is whole."""


@command(help="Copy files: `cp here.txt web:/tmp/there.txt`, `cp web:/var/log ./log`, `cp ns/web:/a b`.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("-c", "--container", default="", metavar="NAME", help="The container; else the first one.")
async def cp(session: Session, source: str, target: str, container: str) -> int:
    from_pod, to_pod = _in_pod(source), _in_pod(target)
    if (from_pod is None) == (to_pod is None):
        raise click.UsageError("one of the two must be in a pod: POD:PATH or NAMESPACE/POD:PATH")
    if to_pod is not None:
        pod, path = to_pod
        return await _upload(session, await _find(session, pod), container, _existing(source), path)
    assert from_pod is not None, "one of the two is in a pod"
    pod, path = from_pod
    return await _download(session, await _find(session, pod), container, path, Path(target))


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise click.ClickException(f"{path} doesn't exist in local filesystem")
    return path


def _in_pod(text: str) -> tuple[str, str] | None:
    """(pod, path), None for a path of this machine."""
    pod, colon, path = text.partition(":")
    if not colon or pod.startswith((".", "/")):
        return None
    if not path:
        raise click.UsageError("filepath can not be empty")
    return pod, path


async def _find(session: Session, named: str) -> PodTarget:
    namespace, slash, name = named.partition("/")
    if slash:
        pod = await session.client.get(pod_target.PODS, namespace, name)
        return PodTarget(pod)
    return await pod_target.find(session, named)


async def _upload(session: Session, target: PodTarget, container: str, source: Path, path: str) -> int:
    directory, name = posixpath.split(path.rstrip("/"))
    if path.endswith("/"):
        directory, name = path, source.name
    read, write = os.pipe()

    def pack() -> None:
        with os.fdopen(write, "wb") as sink, tarfile.open(fileobj=sink, mode="w|") as archive:
            archive.add(source, arcname=name)

    async def packed() -> AsyncIterator[bytes]:
        packing = asyncio.create_task(asyncio.to_thread(pack))
        try:
            while piece := await asyncio.to_thread(os.read, read, remote.PIECE_BYTES):
                yield piece
        finally:
            # A packer that nobody reads ends by the broken pipe.
            os.close(read)
            await asyncio.gather(packing, return_exceptions=True)

    words = ("tar", "-xmf", "-", "-C", directory or ".")
    ends = remote.Ends(stdout=_to_stderr, stderr=_to_stderr, give=packed())
    return await remote.run(session, target.path("exec"), _query(target, container, words), ends)


async def _download(session: Session, target: PodTarget, container: str, path: str, destination: Path) -> int:
    directory, name = posixpath.split(path.rstrip("/"))
    words = ("tar", "cf", "-", "-C", directory or ".", name or ".")
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as archive:

        async def take(data: bytes) -> None:
            archive.write(data)

        ends = remote.Ends(stdout=take, stderr=_to_stderr)
        code = await remote.run(session, target.path("exec"), _query(target, container, words), ends)
        if code == 0:
            _unpack(archive, name, destination)
    return code


def _unpack(archive: IO[bytes], name: str, destination: Path) -> None:
    """Below the destination if it is a directory, else as it. The container made the archive up: nothing in it leads out of that."""
    archive.seek(0)
    root = destination / name if destination.is_dir() else destination
    with tarfile.open(fileobj=archive) as packed:
        for member in packed:
            inside = _inside(member.name, name)
            if member.islnk():
                member.linkname = _inside(member.linkname, name)
            if inside == "." and not member.isdir():
                member.name = root.name
                if member.issym():
                    # The next copy to here would follow it.
                    raise click.ClickException(f"{name} is a link to {member.linkname}: copy that")
                _extract(packed, member, root.parent)
                return
            member.name = inside
            root.mkdir(parents=True, exist_ok=True)
            _extract(packed, member, root)


def _inside(path: str, name: str) -> str:
    """A path of the archive, seen from what was asked for; it may lead out of it, which the extraction refuses."""
    return posixpath.relpath(posixpath.join("/", path), posixpath.join("/", name))


def _extract(packed: tarfile.TarFile, member: tarfile.TarInfo, below: Path) -> None:
    try:
        packed.extract(member, below, filter="data")
    except tarfile.FilterError as refused:
        click.echo(f"warning: skipping {member.name}: {refused}", err=True)


def _query(target: PodTarget, container: str, words: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("container", target.container(container)), *(("command", word) for word in words)]


async def _to_stderr(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.flush()
