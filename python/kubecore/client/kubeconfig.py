"""Reads a kubeconfig: which server, how to trust it, who to be.

In: the file(s) that `--kubeconfig`, `KUBECONFIG` or `~/.kube/config` name. Out: one `ClientConfig` for the chosen
context. Credentials that need another program (`exec`, `auth-provider`) are refused by name.
Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KubeconfigError(Exception):
    """The file is missing, is not a kubeconfig, or names what it does not hold."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """One server and one identity. The `_pem` fields are PEM text, empty if there is none."""

    server: str
    namespace: str = "default"
    certificate_authority_pem: bytes = b""
    client_certificate_pem: bytes = b""
    client_key_pem: bytes = b""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""

    def bearer_token(self) -> str:
        """Read anew each time if it is a file: tokens rotate."""
        return Path(self.token_file).read_text().strip() if self.token_file else self.token


def default_paths(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """The files of `KUBECONFIG`, else `~/.kube/config`."""
    listed = [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [Path(part) for part in listed] or [Path.home() / ".kube" / "config"]


def load(path: str | os.PathLike[str] | None = None, *, context: str = "", server: str = "") -> ClientConfig:
    """The chosen (default: the current) context. `server` overrides its address. Raises KubeconfigError."""
    documents = [(file, _read(file)) for file in ([Path(path)] if path else default_paths()) if path or file.exists()]
    if not documents:
        raise KubeconfigError("no kubeconfig: name one with --kubeconfig or KUBECONFIG")
    chosen = context or next((str(doc["current-context"]) for _, doc in documents if doc.get("current-context")), "")
    if not chosen:
        raise KubeconfigError(f"{documents[0][0]}: no current-context, and none was named")
    _, pair = _named(documents, "contexts", "context", chosen)
    cluster_file, cluster = _named(documents, "clusters", "cluster", pair.get("cluster", ""))
    user_file, user = _named(documents, "users", "user", pair["user"]) if pair.get("user") else (documents[0][0], {})
    for unsupported in ("exec", "auth-provider"):
        if user.get(unsupported):
            raise KubeconfigError(f"{user_file}: user {pair['user']!r}: {unsupported} is not supported")
    address = server or cluster.get("server", "")
    if not address:
        raise KubeconfigError(f"{cluster_file}: cluster {pair.get('cluster')!r} has no server")
    token_file = user.get("tokenFile", "")
    return ClientConfig(
        server=address.rstrip("/"),
        namespace=pair.get("namespace") or "default",
        certificate_authority_pem=_pem(cluster_file, cluster, "certificate-authority"),
        client_certificate_pem=_pem(user_file, user, "client-certificate"),
        client_key_pem=_pem(user_file, user, "client-key"),
        token=user.get("token", ""),
        token_file=str(user_file.parent / token_file) if token_file else "",
        username=user.get("username", ""),
        password=user.get("password", ""),
        insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
        tls_server_name=cluster.get("tls-server-name", ""),
        proxy_url=cluster.get("proxy-url", ""),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_bytes(), Loader=_Loader)
    except OSError as failure:
        raise KubeconfigError(f"{path}: {failure.strerror}") from failure
    except yaml.YAMLError as failure:
        raise KubeconfigError(f"{path}: {failure}") from failure
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path}: not a kubeconfig")
    return document


def _named(
    documents: list[tuple[Path, dict[str, Any]]], plural: str, field: str, name: str
) -> tuple[Path, dict[str, Any]]:
    """The first entry of that name over all files, and the file that holds it."""
    for path, document in documents:
        for entry in document.get(plural) or ():
            if entry.get("name") == name:
                return path, entry.get(field) or {}
    raise KubeconfigError(f"{documents[0][0]}: no {field} named {name!r}")


def _pem(path: Path, fields: dict[str, str], name: str) -> bytes:
    """`<name>-data` (base64), else the file `<name>`, relative to the kubeconfig."""
    data = fields.get(f"{name}-data")
    if data:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as failure:
            raise KubeconfigError(f"{path}: {name}-data is not base64") from failure
    file = fields.get(name)
    if not file:
        return b""
    try:
        return (path.parent / file).read_bytes()
    except OSError as failure:
        raise KubeconfigError(f"{path}: {name}: {file}: {failure.strerror}") from failure
