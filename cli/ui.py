"""`kubecore ui`: opens the page signed in, by a short-lived token of a service account that is made for it."""

from __future__ import annotations

import hashlib
import re
import ssl
import webbrowser
from dataclasses import dataclass
from urllib.parse import quote

import click

from kubecore.api import scheme
from kubecore.api.errors import AlreadyExists
from kubecore.api.meta import Object
from kubecore.client.client import Client
from kubecore_cli.session import Session, command

NAMESPACE = "kube-system"
READER = "system:kubecore:page-reader"
"""What the page shows beside what `view` allows: nodes, figures, the server's log."""
_RBAC = ("rbac.authorization.k8s.io", "v1")
_DURATION = re.compile(r"(\d+)([smh])")
_UNITS = {"s": 1, "m": 60, "h": 3600}
DURATION_SECONDS_MIN = 600
"""Of a token, as the API has it."""


@dataclass(frozen=True, slots=True)
class Account:
    namespace: str
    name: str


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) * _UNITS[match[2]] < DURATION_SECONDS_MIN:
        raise click.BadParameter("a time of at least 10 minutes, such as 30m or 8h")
    return int(match[1]) * _UNITS[match[2]]


@command(
    help="Print an address that opens the page signed in. Without more it can look at everything and change nothing: the token is a "
    "service account's with the role `view`. It is in the address's fragment, which browsers send to nobody, and it runs out."
)
@click.option(
    "--role",
    default="view",
    show_default=True,
    metavar="CLUSTERROLE",
    help="What the page may do: view, edit, cluster-admin, ...",
)
@click.option(
    "--service-account",
    default="",
    metavar="NAMESPACE/NAME",
    help="An account of your own instead, with the rights that it has.",
)
@click.option(
    "--duration", callback=_seconds, default="1h", show_default=True, metavar="TIME", help="How long the token lives."
)
@click.option("--open", "opens", is_flag=True, help="Open it in a browser too.")
async def ui(session: Session, role: str, service_account: str, duration: int, opens: bool) -> int:
    client = session.client
    if service_account:
        namespace, _, name = service_account.rpartition("/")
        account = Account(namespace or session.namespace, name)
    else:
        account = await _account_for(client, role)
    token = await _token(client, account, duration)
    address = f"{session.server.rstrip('/')}/ui/#token={quote(token, safe='')}"
    click.echo(address)
    minutes = duration // 60
    click.echo(f"signed in as {account.namespace}/{account.name} for {minutes} minutes", err=True)
    if session.authority_pem:
        click.echo(
            f"the cluster is its own authority, of which your browser warns; SHA-256 {_fingerprint(session.authority_pem)}",
            err=True,
        )
    if opens and not webbrowser.open(address):
        raise click.ClickException("there is no browser to open it in")
    return 0


async def _account_for(client: Client, role: str) -> Account:
    """A service account for the role, made if it is not there, bound to it and to what the page reads."""
    name = f"kubecore-ui-{re.sub('[^a-z0-9-]+', '-', role.lower()).strip('-')}"
    metadata = {"name": name, "namespace": NAMESPACE}
    await _ensure(
        client, "", "v1", "serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    )
    for bound in (role, READER):
        binding = {
            "apiVersion": "/".join(_RBAC),
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name if bound == role else f"{name}-reader"},
            "roleRef": {"apiGroup": _RBAC[0], "kind": "ClusterRole", "name": bound},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        }
        await _ensure(client, *_RBAC, "clusterrolebindings", binding)
    return Account(NAMESPACE, name)


async def _ensure(client: Client, group: str, version: str, plural: str, obj: Object) -> None:
    resource = scheme.resource(group, version, plural)
    try:
        await client.create(resource, obj, namespace=obj["metadata"].get("namespace", ""))
    except AlreadyExists:
        return


async def _token(client: Client, account: Account, duration_seconds: int) -> str:
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": duration_seconds},
    }
    accounts = scheme.core("serviceaccounts")
    made = await client.create(accounts, request, namespace=account.namespace, subresource="token", name=account.name)
    token: str = made["status"]["token"]
    return token


def _fingerprint(authority_pem: bytes) -> str:
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority_pem.decode())).hexdigest().upper()
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))
