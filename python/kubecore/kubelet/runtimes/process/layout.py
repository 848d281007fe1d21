"""Imports an OCI image layout: a directory with `index.json` and `blobs/`, as `skopeo copy ... oci:DIR` and `docker save` make it.

    python -m kubecore.kubelet.runtimes.process.layout LAYOUT ROOT

In: the layout. Out: its layers unpacked below ROOT/layers, each once under its own digest, in overlayfs's form (a whiteout is
a device 0:0, an opaque directory has an attribute), and the stored image on stdout. Every blob's digest is checked before
it is used, every layer's again when it is unpacked. It is a process of its own: unpacking takes long, and what it
unpacks is not trusted (no entry may leave the layer, by name or by link).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import msgspec

from kubecore.kubelet.runtimes.process.images import LAYERS, StoredImage

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_KEPT_ATTRIBUTES = ("security.capability", "user.")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_READ_BYTES = 1 << 20
_NESTED_INDEXES_MAX = 4
_JSON_BYTES_MAX = 8 << 20


class InvalidLayout(Exception):
    """What is in the directory is not an image that can be used here; the message says what is wrong with which part."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str
    size: int = -1
    platform: dict[str, Any] = {}


class Index(msgspec.Struct, frozen=True):
    manifests: tuple[Descriptor, ...]


class Manifest(msgspec.Struct, frozen=True):
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Execution(msgspec.Struct, frozen=True, rename="pascal"):
    """The part of an image's configuration that says what runs."""

    user: str | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None
    stop_signal: str | None = None


class RootFilesystem(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...]


class ImageConfiguration(msgspec.Struct, frozen=True):
    rootfs: RootFilesystem
    config: Execution | None = None
    architecture: str = ""


def import_layout(layout: Path, root: Path) -> StoredImage:
    """Unpacks what is not there yet. Fails with InvalidLayout."""
    manifest_descriptor = _choose(layout, _read(layout / "index.json", Index), _NESTED_INDEXES_MAX)
    manifest = _blob(layout, manifest_descriptor, Manifest)
    configuration = _blob(layout, manifest.config, ImageConfiguration)
    differences = configuration.rootfs.diff_ids
    if len(differences) != len(manifest.layers):
        raise InvalidLayout(f"the manifest has {len(manifest.layers)} layers, the configuration {len(differences)}")
    folders: list[str] = []
    for descriptor, difference in zip(manifest.layers, differences, strict=True):
        _checked_digest(difference)
        folder = f"{LAYERS}/{difference.partition(':')[2][:24]}"
        if not (root / folder).is_dir():
            _unpack(layout, descriptor, difference, root / folder)
        folders.append(folder)
    execution = configuration.config or Execution()
    return StoredImage(
        id=manifest.config.digest,
        digest=manifest_descriptor.digest,
        tags=(),
        digests=(),
        layers=tuple(reversed(folders)),
        entrypoint=execution.entrypoint or (),
        command=execution.cmd or (),
        environment=tuple(_variable(each) for each in execution.env or ()),
        user=execution.user or "",
        working_dir=execution.working_dir or "/",
        stop_signal=execution.stop_signal or "",
        size_bytes=sum(max(0, each.size) for each in manifest.layers),
    )


def _variable(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


# ── blobs ──


def _choose(layout: Path, index: Index, nested_max: int) -> Descriptor:
    """The manifest for this machine: by its platform, or the only one."""
    architecture = _MACHINES.get(os.uname().machine, os.uname().machine)
    fitting = [each for each in index.manifests if _fits(each, architecture)]
    if not fitting:
        raise InvalidLayout(f"no image for linux/{architecture} is in index.json")
    chosen = fitting[0]
    if chosen.media_type in _INDEXES:
        if nested_max == 0:
            raise InvalidLayout("indexes are nested too deeply")
        return _choose(layout, _blob(layout, chosen, Index), nested_max - 1)
    return chosen


def _fits(descriptor: Descriptor, architecture: str) -> bool:
    platform = descriptor.platform
    return not platform or (platform.get("os"), platform.get("architecture")) == ("linux", architecture)


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        if path.stat().st_size > _JSON_BYTES_MAX:
            raise InvalidLayout(f"{path.name} is larger than {_JSON_BYTES_MAX} bytes")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as failed:
        raise InvalidLayout(f"{path.name}: {failed}") from failed


def _blob(layout: Path, descriptor: Descriptor, kind: type[Any]) -> Any:
    return _read(_verified(layout, descriptor), kind)


def _checked_digest(digest: str) -> tuple[str, str]:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise InvalidLayout(f"{digest} is not a sha256 digest")
    return algorithm, value


def _verified(layout: Path, descriptor: Descriptor) -> Path:
    """The blob's file, once its content is what the digest says."""
    algorithm, value = _checked_digest(descriptor.digest)
    path = layout / "blobs" / algorithm / value
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as failed:
        raise InvalidLayout(f"blob {descriptor.digest}: {failed.strerror}") from failed
    if found != value:
        raise InvalidLayout(f"blob {descriptor.digest} has the digest sha256:{found}")
    return path


# ── layers ──


class _Hashing(io.RawIOBase):
    """Passes on what is read and hashes it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self.hash.update(data)
        return len(data)


def _unpack(layout: Path, descriptor: Descriptor, difference: str, target: Path) -> None:
    """Into a folder beside, which takes its name when all of it is there and its digest is right."""
    making = target.with_name(f"{target.name}.{os.getpid()}")
    making.mkdir(parents=True)
    making.chmod(0o755)
    try:
        with contextlib.ExitStack() as stack:
            plain = _Hashing(_decompressed(_verified(layout, descriptor), descriptor.media_type, stack))
            try:
                with tarfile.open(fileobj=cast(BinaryIO, plain), mode="r|") as archive:
                    _write_entries(archive, making)
                while plain.read(_READ_BYTES):
                    pass
            except (tarfile.TarError, EOFError, gzip.BadGzipFile) as failed:
                raise InvalidLayout(f"layer {descriptor.digest}: {failed}") from failed
        if f"sha256:{plain.hash.hexdigest()}" != difference:
            raise InvalidLayout(
                f"layer {descriptor.digest} unpacks to sha256:{plain.hash.hexdigest()}, not {difference}"
            )
        making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _decompressed(path: Path, media_type: str, stack: contextlib.ExitStack) -> BinaryIO:
    file = stack.enter_context(path.open("rb"))
    if media_type.endswith(("+gzip", ".gzip")):
        return cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=file)))
    if media_type.endswith("+zstd"):
        try:
            process = stack.enter_context(subprocess.Popen(["zstd", "-dc"], stdin=file, stdout=subprocess.PIPE))
        except FileNotFoundError as missing:
            raise InvalidLayout("a layer is compressed with zstd and the program zstd is not installed") from missing
        return cast(BinaryIO, process.stdout)
    if media_type.endswith((".tar", "+tar")):
        return file
    raise InvalidLayout(f"layers of the type {media_type} are not known")


def _write_entries(archive: tarfile.TarFile, root: Path) -> None:
    root = root.resolve()
    directories: list[tuple[str, tarfile.TarInfo]] = []
    for entry in archive:
        parts = _parts(entry.name)
        if not parts:
            if entry.isdir():
                directories.append((str(root), entry))
            continue
        parent = _parent(root, parts[:-1], entry.name)
        name = parts[-1]
        if name == _OPAQUE:
            os.setxattr(parent, "trusted.overlay.opaque", b"y")
        elif name.startswith(_WHITEOUT):
            os.mknod(os.path.join(parent, name.removeprefix(_WHITEOUT)), stat.S_IFCHR, os.makedev(0, 0))
        else:
            path = os.path.join(parent, name)
            _write_entry(archive, entry, path, root)
            if entry.isdir():
                directories.append((path, entry))
    for path, entry in directories:
        if os.path.realpath(path) != path or not os.path.isdir(path):
            # A later entry has put a link in its place, or in that of one above it.
            continue
        # Last: what was written into them changed their times, and a directory may not be writable.
        os.chmod(path, stat.S_IMODE(entry.mode))
        os.utime(path, (entry.mtime, entry.mtime))


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(part for part in PurePosixPath(name).parts if part not in ("/", "."))
    if ".." in parts:
        raise InvalidLayout(f"the entry {name!r} leaves its layer")
    return parts


def _parent(root: Path, parts: tuple[str, ...], name: str) -> str:
    """The directory of an entry; made if the layer has none. A link on the way would lead out of the layer."""
    path = str(root)
    for part in parts:
        path = os.path.join(path, part)
        try:
            kind = os.lstat(path).st_mode
        except FileNotFoundError:
            os.mkdir(path, 0o755)
            continue
        if not stat.S_ISDIR(kind):
            raise InvalidLayout(f"the entry {name!r} goes through {part!r}, which is no directory")
    return path


def _write_entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str, root: Path) -> None:
    if os.path.lexists(path) and not (entry.isdir() and os.path.isdir(path) and not os.path.islink(path)):
        # A later entry of the same name wins.
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    if entry.isdir():
        os.makedirs(path, exist_ok=True)
    elif entry.islnk():
        target = _parts(entry.linkname)
        os.link(os.path.join(_parent(root, target[:-1], entry.linkname), target[-1]), path, follow_symlinks=False)
        return
    elif entry.issym():
        os.symlink(entry.linkname, path)
    elif entry.isreg():
        source = archive.extractfile(entry)
        with open(path, "xb") as file:
            if source is not None:
                shutil.copyfileobj(source, file, _READ_BYTES)
    else:
        kind = stat.S_IFIFO if entry.isfifo() else stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
        os.mknod(path, kind, os.makedev(entry.devmajor, entry.devminor) if not entry.isfifo() else 0)
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if not entry.issym():
        os.chmod(path, stat.S_IMODE(entry.mode))
    for name, value in entry.pax_headers.items():
        attribute = name.removeprefix(_XATTR)
        if name.startswith(_XATTR) and attribute.startswith(_KEPT_ATTRIBUTES):
            os.setxattr(path, attribute, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
    if not entry.isdir():
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def main() -> None:
    layout, root = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        image = import_layout(layout, root)
    except (InvalidLayout, OSError) as failed:
        sys.exit(str(failed))
    sys.stdout.buffer.write(msgspec.json.encode(image))


if __name__ == "__main__":
    main()
