"""Keeps containers' logs from growing without end.

In: the running containers' log files, the size and number allowed. Out: a log that is too large is renamed with a time, the
runtime opens a new one, older ones are compressed, the oldest go.
Source: https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from kubecore.api import quantity
from kubecore.api.clock import Clock
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.runtimes.protocol import Container, Runtime, RuntimeFailure

log = logging.getLogger(__name__)


Aside = Callable[[Callable[[Path], None], Path], Awaitable[None]]
"""Calls a function that takes its time, beside the event loop."""


class LogRotation:
    """Run `run` as a task."""

    def __init__(
        self,
        runtime: Runtime,
        configuration: KubeletConfiguration,
        clock: Clock,
        *,
        running: Callable[[], Iterable[Container]],
        aside: Aside = asyncio.to_thread,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._running = running
        self._aside = aside
        self._bytes_max = quantity.value(configuration.container_log_max_size)
        self._files_max = configuration.container_log_max_files
        self._interval_seconds = float(configuration.container_log_monitor_interval)

    async def run(self) -> None:
        """Until cancelled. A negative size: never rotates."""
        while self._bytes_max > 0:
            await asyncio.sleep(self._interval_seconds)
            await self.look()

    async def look(self) -> None:
        """Rotates the logs that are too large now."""
        for container in list(self._running()):
            if container.log_path:
                try:
                    await self._look(container)
                except (OSError, RuntimeFailure) as failure:
                    log.warning("rotating the log of container %s: %s", container.id, failure)

    async def _look(self, container: Container) -> None:
        path = Path(container.log_path)
        size = _size(path)
        if size is None:
            # A rotation was cut off after the rename: the runtime still writes to the renamed file.
            await self._runtime.reopen_container_log(container.id)
            return
        if size < self._bytes_max:
            return
        for old in self._make_room(path):
            await self._aside(_compress, old)
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y%m%d-%H%M%S")
        renamed = f"{path}.{stamp}"
        os.rename(path, renamed)
        try:
            await self._runtime.reopen_container_log(container.id)
        except RuntimeFailure:
            # Otherwise what it writes from now on would be lost to readers.
            os.rename(renamed, path)
            raise

    def _make_room(self, path: Path) -> list[Path]:
        """Removes the oldest; gives those to compress."""
        rotated = [each for each in sorted(path.parent.glob(f"{path.name}.*")) if each.suffix != ".tmp"]
        # The current log and the one it becomes count too.
        kept = max(0, self._files_max - 2)
        for old in rotated[: max(0, len(rotated) - kept)]:
            old.unlink(missing_ok=True)
        return [each for each in rotated[max(0, len(rotated) - kept) :] if each.suffix != ".gz"]


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _compress(path: Path) -> None:
    half = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as source, gzip.open(half, "wb") as target:
        shutil.copyfileobj(source, target)
    half.rename(path.with_name(f"{path.name}.gz"))
    path.unlink()
