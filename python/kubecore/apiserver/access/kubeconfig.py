"""kubeconfig files: written whole, merged into the user's, and taken out again.

A merge touches only the cluster, user and context called `kubecore` and `current-context`; the rest stays as it was.
Files are replaced in one step and readable by their owner only. Source:
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kubecore.apiserver.access.certificates import write_atomically
from kubecore.apiserver.access.signing import KeyPair

NAME = "kubecore"
_SECTIONS = ("clusters", "users", "contexts")


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def document(*, server: str, ca_pem: bytes, client: KeyPair, name: str = NAME, namespace: str = "") -> dict[str, Any]:
    """A kubeconfig with everything embedded, `name` for its cluster, user and context."""
    context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _encoded(ca_pem)}}],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _encoded(client.certificate_pem),
                    "client-key-data": _encoded(client.key_pem),
                },
            }
        ],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def user_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's kubeconfig: the first file of KUBECONFIG that exists, else its last, else ~/.kube/config. As kubectl
    writes."""
    listed = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    if listed:
        return next((path for path in listed if path.exists()), listed[-1])
    return Path(environment.get("HOME") or Path.home()) / ".kube" / "config"


def write(path: Path, config: Mapping[str, Any]) -> None:
    """Writes one file, whatever was there before."""
    import yaml

    path = path.expanduser()
    # A link, as dotfile managers make, stays a link.
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(config), sort_keys=False, default_flow_style=False)
    write_atomically(path, text.encode(), mode=0o600)


def merge(path: Path, config: Mapping[str, Any]) -> None:
    """Puts the entries of `config` into the file, in place of those with the same names, and makes its context the
    current one.

    Raises ValueError if the file is not a kubeconfig; then it is left alone.
    """
    with _locked(path):
        existing = _load(path)
        for section in _SECTIONS:
            fresh = {entry["name"]: entry for entry in config[section]}
            kept = [fresh.pop(entry["name"], entry) for entry in existing.get(section) or []]
            existing[section] = kept + list(fresh.values())
        existing["current-context"] = config["current-context"]
        write(path, existing)


def remove(path: Path, *, name: str = NAME, server: str = "") -> bool:
    """Takes the cluster, user and context out again, and the current context if it is ours. False if they were not
    there.

    With `server`, only if the entry still points there: a second cluster may have taken the name over.
    """
    if not path.expanduser().exists():
        return False
    with _locked(path):
        existing = _load(path)
        ours = [entry for entry in existing.get("clusters") or [] if entry.get("name") == name]
        if not ours or (server and (ours[0].get("cluster") or {}).get("server") != server):
            return False
        for section in _SECTIONS:
            existing[section] = [entry for entry in existing.get(section) or [] if entry.get("name") != name]
        if existing.get("current-context") == name:
            existing["current-context"] = ""
        write(path, existing)
        return True


def _load(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = ""
    with contextlib.suppress(FileNotFoundError):
        text = path.expanduser().read_text()
    try:
        # A safe loader, its fast form where the C library is there.
        loaded = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not a kubeconfig: {error}") from error
    if loaded is None:
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    sections = [loaded.get(section) or [] for section in _SECTIONS] if isinstance(loaded, dict) else [None]
    if not all(
        isinstance(section, list) and all(isinstance(e, dict) and "name" in e for e in section) for section in sections
    ):
        raise ValueError(f"{path} is not a kubeconfig: clusters, users and contexts must be lists of named entries")
    return dict(loaded)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One merge at a time among our own processes. kubectl's own lock is a file FILE.lock that must not exist: not
    taken, since a stale one would block for ever; the replacement is atomic all the same."""
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
