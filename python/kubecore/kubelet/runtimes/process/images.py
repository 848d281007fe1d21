"""Local images: a table says what a name stands for, `pull` makes it a stored image, containers take its layers.

In: the table (built-in rows and a file of the user's), image layouts that were imported. Out: `StoredImage`, and CRI's
`Image`. A name that no row has is NOT_FOUND in containerd's words. The id of an image is the digest of what its row says (or
of an imported image's configuration), so it is the same on every node and changes when the row does.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from kubecore.kubelet.runtimes.process import hostroot, references, users
from kubecore.kubelet.runtimes.protocol import FilesystemUsage, Image, RuntimeCode, RuntimeFailure

HOST = "host"
LAYERS = "layers"
"""Where unpacked layers are, below the runtime's directory."""
_INDEX = "index"


class PlacedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A file, link or directory that a row puts into its image. `source`: a file or a directory with all that is in it, copied from the
    node when the image is pulled; relative to the table's own directory."""

    content: str = ""
    source: str = ""
    link: str = ""
    directory: bool = False
    mode: str = ""
    owner: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """`name`: an image's name; with `*` it is a pattern; without a tag it stands for every tag. One of `root` (a directory, or
    `host`) and `layout` (an OCI image layout). `present`: is there without a pull."""

    name: str
    root: str = ""
    layout: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    files: dict[str, str | PlacedFile] = {}
    hide: tuple[str, ...] = ()
    present: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    images: tuple[Row, ...] = ()


class StoredImage(msgspec.Struct, frozen=True, kw_only=True):
    """`layers`: directories, top first, relative to the runtime's or absolute; below them the node's root if `on_host`. `digest`: what
    the image is known by in `name@digest`, the id unless it came with another."""

    id: str
    digest: str = ""
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    layers: tuple[str, ...]
    on_host: bool = False
    hide: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    working_dir: str = "/"
    stop_signal: str = ""
    size_bytes: int = 0
    pinned: bool = False

    def as_image(self) -> Image:
        name = self.user.partition(":")[0]
        return Image(
            id=self.id,
            repo_tags=self.tags,
            repo_digests=self.digests,
            size_bytes=self.size_bytes,
            uid=int(name) if name.isdigit() else None,
            username="" if name.isdigit() or name == "root" else name,
            pinned=self.pinned,
        )


def _builtin() -> tuple[Row, ...]:
    shells = {"busybox": "sh", "alpine": "sh", "debian": "bash", "ubuntu": "bash", "bash": "bash", "python": "python3"}
    rows = [Row(name=name, root=HOST, args=(command,)) for name, command in shells.items()]
    # Process 1 of a namespace hears only the signals that it asks for.
    waiting = ("sh", "-c", "trap 'exit 0' TERM INT; sleep infinity & wait")
    pause = Row(name="registry.k8s.io/pause", root=HOST, command=waiting)
    return (*rows, pause, msgspec.structs.replace(pause, name="k8s.gcr.io/pause"))


BUILTIN = _builtin()
"""Base images that the node's own root stands for."""


def read_table(path: str) -> tuple[Row, ...]:
    """The rows of a YAML file: `images: [{name: ..., root: ..., ...}]`. Fails with ValueError, naming file and field."""
    import yaml  # read once, before the daemon forks anything

    with open(path, encoding="utf-8") as file:
        try:
            table = msgspec.convert(yaml.safe_load(file) or {}, Table)
        except (yaml.YAMLError, msgspec.ValidationError) as failed:
            raise ValueError(f"{path}: {failed}") from failed
    for row in table.images:
        if bool(row.root) == bool(row.layout):
            raise ValueError(f"{path}: image {row.name}: exactly one of root and layout is needed")
    return tuple(_anchored(row, Path(path).resolve().parent) for row in table.images)


def _anchored(row: Row, directory: Path) -> Row:
    """Relative paths of a table begin where the table is."""
    files = {
        path: msgspec.structs.replace(file, source=str(directory / file.source))
        if isinstance(file, PlacedFile) and file.source
        else file
        for path, file in row.files.items()
    }
    root = row.root if row.root in ("", HOST) else str(directory / row.root)
    return msgspec.structs.replace(
        row, files=files, root=root, layout=str(directory / row.layout) if row.layout else ""
    )


class Images:
    """Stored images below `directory`/images, and the table."""

    def __init__(self, directory: Path, rows: Iterable[Row], *, hidden: tuple[str, ...] = ()) -> None:
        self._root = directory
        self._directory = directory / "images"
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._hidden = hidden
        self._rows = (*rows, *BUILTIN)
        self._stored: dict[str, StoredImage] = self._load()
        for row in self._rows:
            if row.present and "*" not in row.name:
                self._pull_row(references.parse(row.name), row, 0)

    def all(self) -> list[Image]:
        return [image.as_image() for image in self._stored.values()]

    def find(self, name: str) -> StoredImage | None:
        """By id (whole, or its beginning), tag or digest."""
        if found := self._stored.get(name) or self._stored.get(f"sha256:{name}"):
            return found
        try:
            wanted = references.parse(name)
        except references.InvalidReference:
            return None
        if wanted.digest:
            exact = f"{wanted.repository}@{wanted.digest}"
            return next((image for image in self._stored.values() if exact in image.digests), None)
        return next((image for image in self._stored.values() if str(wanted) in image.tags), None)

    def row_of(self, name: str) -> tuple[references.Reference, Row | None]:
        """None: it was imported. Fails with INVALID_ARGUMENT, or NOT_FOUND if nothing here is called so."""
        try:
            wanted = references.parse(name)
        except references.InvalidReference as invalid:
            raise RuntimeFailure(
                RuntimeCode.INVALID_ARGUMENT, f"failed to parse image reference: {invalid}"
            ) from invalid
        for row in self._rows:
            if _matches(row.name, wanted):
                return wanted, row
        self.stored(wanted)
        return wanted, None

    def stored(self, wanted: references.Reference) -> StoredImage:
        """Fails with NOT_FOUND."""
        found = self.find(str(wanted))
        if found is None:
            raise _not_found(wanted)
        return found

    def pull_row(self, wanted: references.Reference, row: Row, *, root_bytes: int = 0) -> StoredImage:
        """A row with a root of that size. Fails with NOT_FOUND if what it names is not on this node, or the digest is another."""
        image = self._pull_row(wanted, row, root_bytes)
        if wanted.digest and wanted.digest != image.id:
            raise _not_found(wanted)
        return image

    def store(self, image: StoredImage, wanted: references.Reference) -> StoredImage:
        """The image by that name from now on; another image that had the name loses it."""
        tag = str(references.Reference(wanted.repository, wanted.tag)) if wanted.tag else ""
        digest = f"{wanted.repository}@{image.digest or image.id}"
        for other in list(self._stored.values()):
            if tag in other.tags and other.id != image.id:
                kept = tuple(each for each in other.tags if each != tag)
                self._stored[other.id] = msgspec.structs.replace(other, tags=kept)
        known = self._stored.get(image.id)
        tags = dict.fromkeys([*(known.tags if known else ()), *([tag] if tag else [])])
        digests = dict.fromkeys([*(known.digests if known else ()), digest])
        stored = msgspec.structs.replace(image, tags=tuple(tags), digests=tuple(digests))
        self._stored[image.id] = stored
        self._save()
        return stored

    def remove(self, name: str) -> None:
        """All its names with it, as CRI says. Its layers go with the next `sweep`."""
        image = self.find(name)
        if image is not None:
            del self._stored[image.id]
            self._save()

    def sweep(self, in_use: set[str]) -> None:
        """Removes the layers that neither an image nor a container (`in_use`) has."""
        used = in_use.union(*(image.layers for image in self._stored.values()))
        for folder in (*self._root.glob(f"{LAYERS}/*"), *self._directory.glob("files-*")):
            if str(folder.relative_to(self._root)) not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def layers(self, image: StoredImage) -> tuple[str, ...]:
        """What a container stacks its own on. Mounts the node's root if that is the image's and it is not mounted yet."""
        if not image.on_host:
            return image.layers
        return (*image.layers, *hostroot.base_layers(self._root, (*self._hidden, *image.hide)))

    def usage(self) -> FilesystemUsage:
        used, count = tree_size(self._directory)
        return FilesystemUsage(mountpoint=str(self._root), used_bytes=used, inodes_used=count, timestamp=time.time_ns())

    def _pull_row(self, wanted: references.Reference, row: Row, root_bytes: int) -> StoredImage:
        if row.root != HOST and not os.path.isdir(row.root):
            message = f'failed to pull and unpack image "{wanted}": the root directory {row.root} of this local image is not there'
            raise RuntimeFailure(RuntimeCode.NOT_FOUND, message)
        files = self._place(row, wanted)
        identity = _identity(row, files)
        folder = f"images/files-{identity[7:19]}"
        layers: tuple[str, ...] = ()
        size_bytes = 0
        if files:
            size_bytes = _write_files(self._root / folder, files)
            layers = (folder,)
        if row.root != HOST:
            layers = (*layers, os.path.realpath(row.root))
        image = StoredImage(
            id=identity,
            tags=(),
            digests=(),
            layers=layers,
            on_host=row.root == HOST,
            hide=row.hide,
            entrypoint=row.command,
            command=row.args,
            environment=tuple(row.env.items()),
            user=row.user,
            working_dir=row.working_dir or "/",
            stop_signal=row.stop_signal,
            size_bytes=size_bytes + root_bytes,
            pinned=row.present,
        )
        return self.store(image, wanted)

    def _place(self, row: Row, wanted: references.Reference) -> dict[str, tuple[PlacedFile, bytes]]:
        placed: dict[str, tuple[PlacedFile, bytes]] = {}
        for path, given in row.files.items():
            file = given if isinstance(given, PlacedFile) else PlacedFile(content=given)
            target = os.path.join("/", os.path.normpath(path.lstrip("/")))
            if not file.source:
                placed[target] = (file, file.content.encode())
                continue
            try:
                placed.update(_copied(file, target))
            except OSError as failed:
                message = (
                    f'failed to pull and unpack image "{wanted}": {failed.filename or file.source}: {failed.strerror}'
                )
                raise RuntimeFailure(RuntimeCode.NOT_FOUND, message) from failed
        return placed

    def _load(self) -> dict[str, StoredImage]:
        try:
            stored = msgspec.msgpack.decode((self._directory / _INDEX).read_bytes(), type=list[StoredImage])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}
        return {image.id: image for image in stored}

    def _save(self) -> None:
        target = self._directory / _INDEX
        target.with_suffix(".new").write_bytes(msgspec.msgpack.encode(list(self._stored.values())))
        target.with_suffix(".new").replace(target)


def _copied(file: PlacedFile, target: str) -> dict[str, tuple[PlacedFile, bytes]]:
    """What is at its source, file by file. Who may execute it here may there, unless the row says the mode."""
    if not os.path.isdir(file.source):
        executable = os.access(file.source, os.X_OK)
        placed = msgspec.structs.replace(file, mode=file.mode or ("0755" if executable else "0644"))
        return {target: (placed, Path(file.source).read_bytes())}
    found: dict[str, tuple[PlacedFile, bytes]] = {target: (PlacedFile(directory=True, owner=file.owner), b"")}
    for name in sorted(os.listdir(file.source)):
        inner = msgspec.structs.replace(file, source=os.path.join(file.source, name))
        found.update(_copied(inner, os.path.join(target, name)))
    return found


def _not_found(wanted: references.Reference) -> RuntimeFailure:
    message = f'failed to pull and unpack image "{wanted}": failed to resolve reference "{wanted}": {wanted}: not found'
    return RuntimeFailure(RuntimeCode.NOT_FOUND, message)


def _matches(pattern: str, wanted: references.Reference) -> bool:
    """A pattern as written, or normalised like an image's name; without a tag it is about the repository."""
    if "*" in pattern:
        named = f"{wanted.repository}:{wanted.tag}" if ":" in pattern.rpartition("/")[2] else wanted.repository
        return fnmatch.fnmatchcase(named, pattern) or fnmatch.fnmatchcase(
            named.removeprefix("docker.io/library/"), pattern
        )
    row = references.parse(pattern)
    if row.repository != wanted.repository:
        return False
    return ":" not in pattern.rpartition("/")[2] or row.tag == wanted.tag or bool(wanted.digest and not wanted.tag)


def _identity(row: Row, files: dict[str, tuple[PlacedFile, bytes]]) -> str:
    """Of what a container would see, not of the row's name: two names of one thing are one image."""
    told: list[Any] = [
        row.root,
        row.command,
        row.args,
        sorted(row.env.items()),
        row.user,
        row.working_dir,
        row.stop_signal,
    ]
    told += [sorted(row.hide)]
    told += [
        (path, file.mode, file.owner, file.link, file.directory, hashlib.sha256(content).hexdigest())
        for path, (file, content) in sorted(files.items())
    ]
    return f"sha256:{hashlib.sha256(msgspec.json.encode(told)).hexdigest()}"


def _write_files(folder: Path, files: dict[str, tuple[PlacedFile, bytes]]) -> int:
    """The layer of placed files, made once: its name is its content. Directories on the way look like the node's own. Its bytes."""
    size_bytes = sum(len(content) for _, content in files.values())
    if folder.exists():
        return size_bytes
    finished, folder = folder, folder.with_suffix(".new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    folder.chmod(0o755)
    for path, (file, content) in sorted(files.items()):
        target = folder
        for part in Path(path).relative_to("/").parts[:-1]:
            target = target / part
            if not target.exists():
                target.mkdir()
                _like_host(target, "/" + str(target.relative_to(folder)))
        target = folder / path.lstrip("/")
        if file.link:
            target.symlink_to(file.link)
            continue
        if file.directory:
            target.mkdir(exist_ok=True)
            target.chmod(int(file.mode or "0755", 8))
        else:
            target.write_bytes(content)
            target.chmod(int(file.mode or "0644", 8))
        if file.owner:
            owner = users.resolve(file.owner)
            os.chown(target, owner.uid, owner.gid)
    folder.rename(finished)
    return size_bytes


def _like_host(target: Path, path: str) -> None:
    try:
        found = os.stat(path)
    except OSError:
        target.chmod(0o755)
        return
    target.chmod(stat.S_IMODE(found.st_mode))
    os.chown(target, found.st_uid, found.st_gid)


def tree_size(directory: Path) -> tuple[int, int]:
    """(bytes, inodes) below it."""
    used = count = 0
    for folder, _, names in os.walk(directory):
        count += 1 + len(names)
        for name in names:
            try:
                used += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return used, count
