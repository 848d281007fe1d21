"""Makes OCI image layouts for tests: layers from dictionaries, every digest right unless a test spoils it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def layer(
    entries: dict[str, str | None], *, links: dict[str, str] | None = None, modes: dict[str, int] | None = None
) -> bytes:
    """A tar of files by name (None: a directory) and symlinks."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.mode = (modes or {}).get(name, 0o755)
            if content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(content.encode())
                archive.addfile(entry, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return made.getvalue()


class Layout:
    """`directory` becomes a layout with one image of these layers, bottom first, compressed as told ("", gzip, zstd)."""

    def __init__(self, directory: Path, layers: list[tuple[bytes, str]], config: dict[str, Any]) -> None:
        self.directory = directory
        (directory / "blobs" / "sha256").mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        differences = [f"sha256:{hashlib.sha256(plain).hexdigest()}" for plain, _ in layers]
        self.layers = [
            self._put(_compressed(plain, how), f"application/vnd.oci.image.layer.v1.tar{how and '+' + how}")
            for plain, how in layers
        ]
        self.config = self._put(
            json.dumps(
                {
                    "architecture": ARCHITECTURE,
                    "os": "linux",
                    "config": config,
                    "rootfs": {"type": "layers", "diff_ids": differences},
                }
            ).encode(),
            "application/vnd.oci.image.config.v1+json",
        )
        manifest = {"schemaVersion": 2, "config": self.config, "layers": self.layers}
        self.manifest = self._put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
        other = {**self.manifest, "platform": {"os": "linux", "architecture": "riscv64"}}
        own = {**self.manifest, "platform": {"os": "linux", "architecture": ARCHITECTURE}}
        self.index([other, own])

    def index(self, manifests: list[dict[str, Any]]) -> None:
        (self.directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))

    def blob(self, descriptor: dict[str, Any]) -> Path:
        return self.directory / "blobs" / "sha256" / str(descriptor["digest"]).partition(":")[2]

    def _put(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self.directory / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _compressed(plain: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(plain)
    if how == "zstd":
        return subprocess.run(["zstd", "-c"], input=plain, stdout=subprocess.PIPE, check=True).stdout
    return plain
