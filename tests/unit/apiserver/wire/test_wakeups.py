"""How an event loop hears from the store."""

from __future__ import annotations

import asyncio

import pytest

from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.wire.wakeups import Wakeups


async def test_who_awaits_what_never_becomes_durable_is_told() -> None:
    storage = EmbeddedStorage.memory()
    wakeups = Wakeups(storage.store, asyncio.get_running_loop())
    waiting = asyncio.ensure_future(wakeups.durable(storage.revision() + 1))
    await asyncio.sleep(0)
    storage.close()
    with pytest.raises(ConnectionError, match="it was closed"):
        await waiting
    wakeups.close()
