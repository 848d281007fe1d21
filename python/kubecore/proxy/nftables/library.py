"""Hands scripts to the kernel through libnftables, the library behind `nft`, in this process.

In: the text of one script. Out: what it printed. A script is one transaction: all of it holds, or nothing. Measured
against a process of `nft -f -` per transaction the library saves the process (docs/design/proxy.md). The library
belongs to the thread and the network namespace that made it; while it works, other Python threads run.
"""

from __future__ import annotations

import ctypes
from typing import Any

LIBRARY = "libnftables.so.1"

LARGE_SCRIPT_BYTES = 1 << 20
"""After a script of that size the library's memory is given back: 10,000 services leave 220 MB of it unused."""


class NftablesError(Exception):
    """A script that the kernel or the library refused; nothing of it holds."""


class Nftables:
    """One context of the library. Not for two threads at once. Raises NftablesError if there is no library."""

    def __init__(self) -> None:
        self._library = _load()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise NftablesError(f"{LIBRARY} could not be set up: may this process change packet filters?")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, script: str) -> str:
        """Raises NftablesError."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
        if len(script) > LARGE_SCRIPT_BYTES:
            _give_back_memory()
        printed: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        said: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if failed:
            raise NftablesError(said.decode(errors="replace").strip() or "the script was refused without a word")
        return printed.decode()

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None


def _give_back_memory() -> None:
    """What the C library holds and nobody uses, if it is one that can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _load() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as missing:
        raise NftablesError(f"{LIBRARY} is missing: install nftables") from missing
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    return library
