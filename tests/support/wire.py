"""A small API server for tests of the wire: the real storage and door, and rules and a registry that fit on a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubecore.api.errors import Forbidden, NotFound, Unauthorized
from kubecore.apiserver.access.authenticate import CredentialKind, Identity
from kubecore.apiserver.access.authorize import Attributes, Verdict
from kubecore.apiserver.registry.admission import User
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.wire import APIServer, PostStartHook, ServedResources
from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import Response, of_json, of_status

POLICY_KEY = "/registry/rbac.authorization.k8s.io/roles/default/reader"


@dataclass
class Rules:
    """Lets everybody do everything, but for those it forbids; counts how often it was asked."""

    forbidden: set[str] = field(default_factory=set)
    any_name: bool = True
    asked: int = 0

    @property
    def authorizer(self) -> Rules:
        return self

    def identify(self, kind: CredentialKind, credential: bytes, headers: Sequence[tuple[str, str]] = ()) -> Identity:
        if kind == "token" and credential == b"wrong":
            raise Unauthorized("Unauthorized")
        return Identity(User(credential.decode(errors="replace")), 0.0)

    def check(self, attributes: Attributes) -> Verdict:
        self.asked += 1
        if attributes.user.name in self.forbidden:
            raise Forbidden(f'User "{attributes.user.name}" cannot {attributes.verb}')
        return Verdict(True, any_name=self.any_name)


@dataclass
class Shelf:
    """Creates and deletes; fails when told to."""

    storage: EmbeddedStorage

    def handle(self, user: User, call: Call) -> Response:
        key = f"/registry/{call.group or 'core'}/{call.resource}/{call.namespace}/"
        if call.verb == "create":
            given = json.loads(call.body)
            name = given["metadata"]["name"]
            value, splice = encoded(given)
            return Response(201, self.storage.create(key + name, value, splice=splice).value)
        if call.verb == "delete":
            return Response(200, self.storage.delete(key + call.name).value)
        if call.verb == "patch":
            raise RuntimeError("a bug")
        if call.verb == "update":
            return of_status(NotFound("nothing to update"))
        return of_json({"verb": call.verb, "user": user.name})


def encoded(obj: dict[str, object]) -> tuple[bytes, int]:
    """As `codec.encode`, without the fact table: (bytes, where the revision goes)."""
    metadata = {"resourceVersion": "", **obj["metadata"]}  # type: ignore[dict-item]
    ordered = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **obj, "metadata": metadata}
    head = {key: ordered[key] for key in ("apiVersion", "kind", "metadata")}
    text = json.dumps({**head, **ordered}, separators=(",", ":"))
    return text.encode(), text.index('"resourceVersion":"') + len('"resourceVersion":"')


def pod(name: str, *, labels: dict[str, str] | None = None, node: str = "") -> dict[str, object]:
    spec = {"nodeName": node} if node else {}
    metadata = {"name": name, "namespace": "default", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def put(storage: EmbeddedStorage, obj: dict[str, object]) -> int:
    """Writes a pod as it is; gives the revision."""
    value, splice = encoded(obj)
    name = obj["metadata"]["name"]  # type: ignore[index]
    return storage.store.put(f"/registry/core/pods/default/{name}", value, splice=splice).revision


def change_policy(storage: EmbeddedStorage) -> None:
    """Something under a policy prefix changes, so that every verdict has to be asked for again."""
    storage.store.put(POLICY_KEY, b"{}")


def server(*, rules: Rules | None = None, unfinished: Sequence[PostStartHook] = ()) -> tuple[APIServer, Rules]:
    """unfinished: hooks that have not run; without any, the server is started."""
    rules = rules or Rules()
    storage = EmbeddedStorage.memory(threadless=True)
    made = APIServer(
        storage=storage, gate=rules, registry=Shelf(storage), served=ServedResources(), post_start=unfinished
    )
    if not unfinished:
        made.start()
    return made, rules
