"""Removes images that no container uses when the disk fills, the longest unused first.

In: the image filesystem's use, the images, the containers. Out: images removed; events when not enough could be.
Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/#container-image-garbage-collection
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kubecore.api.clock import Clock
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.runtimes.protocol import Container, Image, Runtime, RuntimeFailure

log = logging.getLogger(__name__)

PERIOD_SECONDS = 300.0

Say = Callable[[str, str], None]
"""(reason, message): a warning about the node."""


@dataclass(frozen=True, slots=True)
class Room:
    """A filesystem."""

    capacity_bytes: int
    available_bytes: int

    @property
    def used_percent(self) -> int:
        return 100 - self.available_bytes * 100 // self.capacity_bytes if self.capacity_bytes else 0


def room_of(path: str) -> Room:
    found = os.statvfs(path)
    return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class ImageCollection:
    """Run `run` as a task. `free` is what eviction calls when the disk is short."""

    def __init__(
        self,
        runtime: Runtime,
        configuration: KubeletConfiguration,
        clock: Clock,
        *,
        used_at: Mapping[str, float],
        containers: Callable[[], Iterable[Container]],
        say: Say,
        room: Callable[[str], Room] = room_of,
    ) -> None:
        """`used_at`: when an image (by id) was last wanted by a pod."""
        self._runtime = runtime
        self._clock = clock
        self._used_at = used_at
        self._containers = containers
        self._say = say
        self._room = room
        self._high_percent = configuration.image_gc_high_threshold_percent
        self._low_percent = configuration.image_gc_low_threshold_percent
        self._age_min_seconds = float(configuration.image_minimum_gc_age)
        self._age_max_seconds = float(configuration.image_maximum_gc_age)
        self._seen_at: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.collect()
            except (RuntimeFailure, OSError) as failure:
                log.warning("collecting images: %s", failure)
            await asyncio.sleep(PERIOD_SECONDS)

    async def collect(self) -> None:
        """Removes what is too old; then, above the high threshold, down to the low one. Raises RuntimeFailure, OSError."""
        unused = await self._unused()
        now = self._clock.now()
        if self._age_max_seconds:
            for image in [each for each in unused if now - self._last_used(each) > self._age_max_seconds]:
                await self._remove(image)
                unused.remove(image)
        filesystem = await self._runtime.image_filesystem()
        room = self._room(filesystem.mountpoint)
        if room.used_percent < self._high_percent:
            return
        wanted = room.capacity_bytes * (100 - self._low_percent) // 100 - room.available_bytes
        freed = await self._free(unused, wanted)
        if freed < wanted:
            message = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
            self._say("FreeDiskSpaceFailed", message)

    async def free(self) -> int:
        """Removes all images that nobody uses; gives the bytes. Raises RuntimeFailure."""
        return await self._free(await self._unused(), None)

    async def _unused(self) -> list[Image]:
        """The longest unused first; pinned ones never."""
        images = await self._runtime.list_images()
        now = self._clock.now()
        self._seen_at = {each.id: self._seen_at.get(each.id, now) for each in images}
        used = {name for container in self._containers() for name in (container.image_id, container.image_ref)}
        found = [
            each for each in images if not each.pinned and not used & {each.id, *each.repo_tags, *each.repo_digests}
        ]
        return sorted(found, key=lambda each: (self._last_used(each), each.id))

    def _last_used(self, image: Image) -> float:
        return max(self._used_at.get(image.id, 0.0), self._seen_at.get(image.id, 0.0))

    async def _free(self, unused: list[Image], wanted: int | None) -> int:
        freed = 0
        for image in unused:
            if wanted is not None and freed >= wanted:
                break
            if wanted is not None and self._clock.now() - self._seen_at[image.id] < self._age_min_seconds:
                continue
            await self._remove(image)
            freed += image.size_bytes
        return freed

    async def _remove(self, image: Image) -> None:
        log.info("image %s is removed: nobody uses it", image.repo_tags[:1] or image.id)
        await self._runtime.remove_image(image.id)
