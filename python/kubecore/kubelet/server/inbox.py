"""What one side of a connection has sent for one stream and nobody has read yet: a bounded pipe between two tasks."""

from __future__ import annotations

import asyncio

INBOX_SIZE_MAX_BYTES = 256 * 1024
"""Beyond it the sender's connection is not read, so the sender waits."""


class Inbox:
    """One task puts, one takes."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._ended = False
        self._changed = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """Returns when there is room for more. What comes after the end is thrown away."""
        if self._ended:
            return
        self._waiting += data
        self._changed.set()
        while len(self._waiting) > INBOX_SIZE_MAX_BYTES and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    def end(self) -> None:
        """Nothing more comes; what is there can still be taken."""
        self._ended = True
        self._changed.set()

    async def take(self) -> bytes:
        """All that is there; b"" at the end."""
        while not self._waiting and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        taken = bytes(self._waiting)
        self._waiting.clear()
        self._changed.set()
        return taken
