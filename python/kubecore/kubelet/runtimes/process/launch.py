"""From a forked child of the daemon to the container's process: namespaces, root, identity, execve.

In: a `Launch`, complete and resolved, and one end of a socket pair. Out: execve, or a failure told through the pair. What
travels on it: nothing or one message of JSON (with the terminal's handle, if there is one), then the end of file: the
process runs. `{"error": ..., "message": ...}` says that it does not.

Everything here runs between fork and execve in a copy of the daemon: it opens no event loop, starts no thread, imports
nothing, and always ends in execve or `os._exit`.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
from dataclasses import dataclass

from kubecore.kubelet.runtimes.process import root, syscalls, users
from kubecore.kubelet.runtimes.process.capabilities import not_in

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STATUS_BYTES_MAX = 1 << 16
_EXIT_NOT_STARTED = 127
_RESET_SIGNALS = (signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ)


@dataclass(frozen=True, kw_only=True)
class Process:
    """What is executed, and as whom. `user` as an image writes it; `environment` in order, later ones win."""

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    working_dir: str = "/"
    user: str = ""
    group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    capabilities: int
    no_new_privileges: bool = False
    terminal: bool = False
    rlimits: tuple[tuple[int, int, int], ...] = ()
    oom_score_adj: int | None = None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """`join`: (handle of a namespace or a pidfd, flags for setns). `root`: built new, or None inside a container that runs.
    `stdin`, `stdout`, `stderr`: handles, -1 for /dev/null; with a terminal they are not used."""

    process: Process
    cgroup_files: tuple[str, ...] = ()
    join: tuple[tuple[int, int], ...] = ()
    root: root.Root | None = None
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class StartFailure(Exception):
    """In the words that runc and containerd use, which is what users search for."""


def run_in_child(launch: Launch, status: socket.socket) -> None:
    """Never returns."""
    try:
        _prepare_signals()
        _become(launch, status)
    except StartFailure as failed:
        _tell(status, {"error": "StartError", "message": str(failed)})
    except users.UnknownUser as failed:
        _tell(status, {"error": "StartError", "message": f"unable to start container process: {failed}"})
    except OSError as failed:
        about = f" {failed.filename}" if failed.filename else ""
        message = f"error during container init:{about}: {failed.strerror}"
        _tell(status, {"error": "StartError", "message": f"unable to start container process: {message}"})
    except (
        BaseException
    ) as failed:  # this process is a copy of the daemon: whatever it was, it ends here, and it is told
        _tell(status, {"error": "StartError", "message": f"unable to start container process: {failed!r}"})
    finally:
        os._exit(_EXIT_NOT_STARTED)


def _prepare_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _become(launch: Launch, status: socket.socket) -> None:
    process = launch.process
    syscalls.set_undumpable()
    os.setsid()
    os.umask(0o022)
    _join_cgroup(launch.cgroup_files)
    _adjust_oom_score(process.oom_score_adj)
    for handle, flags in launch.join:
        syscalls.setns(handle, flags)
    if launch.root is not None:
        root.enter(launch.root)
    identity = users.resolve(process.user, group=process.group, supplemental_groups=process.supplemental_groups)
    report: dict[str, object] = {"uid": identity.uid, "gid": identity.gid, "groups": list(identity.groups)}
    if process.terminal:
        _take_terminal(identity, status, report)
    else:
        _take_streams(launch)
        _tell(status, report)
    _keep_only(status)
    for number, soft, hard in process.rlimits:
        resource.setrlimit(number, (soft, hard))
    if launch.root is not None:
        _make_working_directory(process.working_dir)
    environment = _environment(process, identity)
    _take_identity(process, identity)
    _enter_working_directory(process.working_dir)
    _execute(process.argv, environment)


def _join_cgroup(files: tuple[str, ...]) -> None:
    for file in files:
        handle = os.open(file, os.O_WRONLY)
        os.write(handle, b"0")
        os.close(handle)


def _adjust_oom_score(score: int | None) -> None:
    """Lowering it needs CAP_SYS_RESOURCE; without, the score stays as near as may be, as containerd's restrict_oom_score_adj."""
    if score is None:
        return
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(score))
    except PermissionError:
        return


def _take_streams(launch: Launch) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for target, handle in ((0, launch.stdin), (1, launch.stdout), (2, launch.stderr)):
        os.dup2(handle if handle >= 0 else null, target)


def _take_terminal(identity: users.Identity, status: socket.socket, report: dict[str, object]) -> None:
    """A terminal of the container's own /dev/pts, so that `tty` and `ps` find it there; the daemon gets its other end."""
    try:
        controller = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        number = root.unlock_terminal(controller)
        name = f"/dev/pts/{number}"
        terminal = os.open(name, os.O_RDWR)
    except OSError as failed:
        raise StartFailure(f"unable to start container process: cannot open a terminal: {failed.strerror}") from failed
    os.chown(name, identity.uid, -1)
    root.take_controlling_terminal(terminal)
    for target in (0, 1, 2):
        os.dup2(terminal, target)
    socket.send_fds(status, [json.dumps(report).encode()], [controller])


def _keep_only(status: socket.socket) -> None:
    """What follows uses paths that the pod chose, and /proc/self/fd is one: no handle of the daemon's may lead onto the node."""
    syscalls.close_handles(3, status.fileno() - 1)
    syscalls.close_handles(max(3, status.fileno() + 1))


def _make_working_directory(working_dir: str) -> None:
    """As runc: a container's working directory that is missing is made, by root."""
    try:
        os.makedirs(working_dir or "/", exist_ok=True)
    except OSError as failed:
        raise _no_working_directory(working_dir, failed) from failed


def _enter_working_directory(working_dir: str) -> None:
    try:
        os.chdir(working_dir or "/")
    except OSError as failed:
        raise _no_working_directory(working_dir, failed) from failed


def _no_working_directory(working_dir: str, failed: OSError) -> StartFailure:
    return StartFailure(
        f'unable to start container process: error during container init: chdir to cwd ("{working_dir}") set in config.json '
        f"failed: {_reason(failed)}"
    )


def _environment(process: Process, identity: users.Identity) -> dict[str, str]:
    environment = {"PATH": DEFAULT_PATH, "HOME": identity.home}
    if process.terminal:
        environment["TERM"] = "xterm"
    environment.update(process.environment)
    return environment


def _take_identity(process: Process, identity: users.Identity) -> None:
    """The bounding set while we are root; then the user; what root keeps last. For other users execve leaves nothing of it."""
    syscalls.drop_from_bounding_set(not_in(process.capabilities))
    os.setgroups(list(identity.groups))
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    if identity.uid == 0:
        syscalls.set_capabilities(process.capabilities)
    if process.no_new_privileges:
        syscalls.set_no_new_privileges()


def _execute(argv: tuple[str, ...], environment: dict[str, str]) -> None:
    command = argv[0]
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    folders = environment["PATH"].split(":")
    candidates = [command] if "/" in command else [f"{folder or '.'}/{command}" for folder in folders]
    denied: OSError | None = None
    for candidate in candidates:
        try:
            if os.path.isdir(candidate):
                denied = denied or IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                continue
            os.execve(candidate, argv, encoded)
        except FileNotFoundError as failed:
            if "/" in command:
                denied = failed
        except NotADirectoryError:
            continue
        except OSError as failed:
            denied = failed
    if denied is None:
        raise StartFailure(f'unable to start container process: exec: "{command}": executable file not found in $PATH')
    separator = "stat " if "/" in command and denied.errno == errno.ENOENT else ""
    about = f"{separator}{command}: " if separator else ""
    raise StartFailure(f'unable to start container process: exec: "{command}": {about}{_reason(denied)}')


def _reason(failed: OSError) -> str:
    """As Go prints an errno: in small letters."""
    return (failed.strerror or "unknown error").lower()


def _tell(status: socket.socket, message: dict[str, object]) -> None:
    try:
        status.send(json.dumps(message).encode()[:STATUS_BYTES_MAX])
    except OSError:
        # Nobody is left to be told; the exit code says it to whoever looks.
        return
