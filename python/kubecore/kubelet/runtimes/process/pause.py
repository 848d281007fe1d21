"""Process 1 of a pid namespace that a pod's containers share: it waits, and reaps whoever has no parent left.

A fork of the daemon that executes nothing, since nothing small to execute is sure to be on the node. Containers see it, so it
keeps nothing of the node's that they could reach through /proc: no open file, no command line, an empty root.
"""

from __future__ import annotations

import ctypes
import os
import signal

from kubecore.kubelet.runtimes.process import syscalls

NAME = "pause"
_ARGUMENTS_BEGIN, _ARGUMENTS_END = 45, 46


def hold(cgroup_files: tuple[str, ...], root: str) -> None:
    """In the forked child; never returns. SIGTERM ends it."""
    signal.set_wakeup_fd(-1)
    os.setsid()
    syscalls.set_undumpable()
    for file in cgroup_files:
        handle = os.open(file, os.O_WRONLY)
        os.write(handle, b"0")
        os.close(handle)
    _forget_arguments()
    _leave_root(root)
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    syscalls.set_process_name(NAME)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        signal.sigwait([signal.SIGCHLD])
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _forget_arguments() -> None:
    """The command line is memory of the process's own: what `ps` shows is what is written there."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    begin, size = int(fields[_ARGUMENTS_BEGIN]), int(fields[_ARGUMENTS_END]) - int(fields[_ARGUMENTS_BEGIN])
    ctypes.memmove(begin, f"/{NAME}".encode().ljust(size, b"\0")[:size], size)


def _leave_root(root: str) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount(
        "none", root, "tmpfs", syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=0,nr_inodes=2"
    )
    os.chdir(root)
    syscalls.pivot_root_here()
    os.chdir("/")
