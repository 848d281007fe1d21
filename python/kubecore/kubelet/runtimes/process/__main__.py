"""The daemon's command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from pathlib import Path

from kubecore.kubelet import cgroups
from kubecore.kubelet.runtimes.process import hostroot, spawn
from kubecore.kubelet.runtimes.process.images import read_table
from kubecore.kubelet.runtimes.process.server import Server
from kubecore.kubelet.runtimes.process.service import ProcessRuntime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kubecore.kubelet.runtimes.process", description="Runs the containers of one node."
    )
    parser.add_argument("--socket", required=True, type=Path, help="where kubelets connect (a Unix socket)")
    parser.add_argument("--root", required=True, type=Path, help="containers, images and their records")
    parser.add_argument("--cgroup-root", default="/kubecore", help="cgroup of sandboxes whose pod brings none")
    parser.add_argument("--images", action="append", default=[], type=Path, help="a table of local images (YAML)")
    parser.add_argument("--hide", action="append", default=[], help="a path of the node that host images do not show")
    parser.add_argument("--pod-interface", default="pods", help="the bridge of the pods' network")
    parser.add_argument("--pod-mtu", default=1500, type=int)
    parser.add_argument("-v", "--verbose", action="store_true")
    return parser.parse_args()


def _lock(root: Path) -> int:
    """One daemon for a directory: two would watch and end the same containers. The lock goes with the process, not with its children."""
    handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as taken:
        raise OSError(taken.errno, f"another runtime uses {root}") from taken
    return handle


async def _run(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if sys.version_info < (3, 12):
        # Later versions choose it themselves: no thread for each child that is waited for.
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(loop)
        asyncio.set_child_watcher(watcher)
    root: Path = arguments.root.resolve()
    hostroot.keep_off_overlay(root)
    lock = _lock(root)
    rows = tuple(row for path in arguments.images for row in read_table(str(path)))
    runtime = ProcessRuntime(
        root,
        cgroups=cgroups.detect(),
        cgroup_root=arguments.cgroup_root,
        rows=rows,
        hidden=tuple(arguments.hide),
        bridge=arguments.pod_interface,
        mtu=arguments.pod_mtu,
    )
    await runtime.recover()
    spawn.prepare()
    server = Server(runtime, arguments.socket)
    serving = asyncio.ensure_future(server.serve())
    waiting = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    server.close()
    runtime.close()
    if serving.done():
        serving.result()
    serving.cancel()
    os.close(lock)


def main() -> None:
    arguments = _arguments()
    level = logging.DEBUG if arguments.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    os.umask(0o022)
    # One that hangs on to a terminal would be ended with it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(arguments))
    except (ValueError, OSError) as failed:
        sys.exit(f"kubecore process runtime: {failed}")


if __name__ == "__main__":
    main()
