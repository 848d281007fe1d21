"""What a container left behind when it ended: its termination message, or the end of its log.

Source: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from pathlib import Path

from kubecore.kubelet.runtimes.protocol import Container, ContainerState

log = logging.getLogger(__name__)

PATH_ANNOTATION = "io.kubernetes.container.terminationMessagePath"
POLICY_ANNOTATION = "io.kubernetes.container.terminationMessagePolicy"

MESSAGE_BYTES_MAX = 4096
LOG_BYTES_MAX = 2048
LOG_LINES_MAX = 80
REMEMBERED_MAX = 4096
"""Messages kept, by container: an ended container's message never changes. Beyond it the oldest is read again."""


class TerminationMessages:
    """Calls give the message of a container, read once."""

    def __init__(self) -> None:
        self._read: OrderedDict[str, str] = OrderedDict()

    def __call__(self, container: Container) -> str:
        if container.state is not ContainerState.EXITED:
            return container.message
        if container.id not in self._read:
            self._read[container.id] = message_of(container)
            if len(self._read) > REMEMBERED_MAX:
                self._read.popitem(last=False)
        return self._read[container.id]


def message_of(container: Container) -> str:
    """The runtime's message, then the container's own."""
    own = _from_file(container)
    failed = container.exit_code != 0 or container.reason == "ContainerCannotRun"
    if not own and failed and container.annotations.get(POLICY_ANNOTATION) == "FallbackToLogsOnError":
        own = _from_log(container)
    return ": ".join(text for text in (container.message, own) if text)


def _from_file(container: Container) -> str:
    path = container.annotations.get(PATH_ANNOTATION)
    mount = next((each for each in container.mounts if path and each.container_path == path), None)
    return _tail(Path(mount.host_path), MESSAGE_BYTES_MAX) if mount is not None else ""


def _from_log(container: Container) -> str:
    if not container.log_path:
        return ""
    text = _tail(Path(container.log_path), LOG_BYTES_MAX * 2)
    # Lines are `<time> stdout|stderr F|P <text>`; the first may be cut.
    parts = [line.split(" ", 3)[2:] for line in text.splitlines() if line.count(" ") >= 3]
    whole = "".join(text if tag == "P" else f"{text}\n" for tag, text in parts)
    return "".join(whole.splitlines(keepends=True)[-LOG_LINES_MAX:])[-LOG_BYTES_MAX:]


def _tail(path: Path, size_bytes: int) -> str:
    """The end of a regular file; a container may have put anything in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            size = os.fstat(descriptor).st_size
            opened.seek(max(0, size - size_bytes))
            return opened.read(size_bytes).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as failure:
        log.info("the termination message %s cannot be read: %s", path, failure)
        return f"Error on reading termination log {path}: {failure}"
