"""Runs a test where its mounts are its own: in a thread with a mount namespace that dies with it."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | (1 << 18)

_libc = ctypes.CDLL(None, use_errno=True)


def _leave() -> None:
    for result in (
        _libc.unshare(_CLONE_NEWNS),
        _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None),
    ):
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_private_mounts(test: Callable[..., Any]) -> Callable[..., None]:
    """For tests that mount. An `async` test runs on a real event loop in that thread."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        failures: list[BaseException] = []

        def body() -> None:
            try:
                _leave()
                result = test(*arguments, **named)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=body, name=test.__name__)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    # pytest must not take it for a coroutine function.
    del run.__wrapped__
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run
