"""The whole room over the real store."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from kubecore.api import codec, scheme
from kubecore.api.errors import Forbidden, Unauthorized
from kubecore.api.meta import Object
from kubecore.apiserver.access import bootstrap
from kubecore.apiserver.access.authorize import Attributes
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.access.gate import AccessOptions, Gate, build_gate
from kubecore.apiserver.access.stored import StoredPolicy
from kubecore.apiserver.storage.embedded import EmbeddedStorage

from .worlds import NOW, RBAC, binding, make, rbac, rule


@pytest.fixture
def storage() -> Iterator[EmbeddedStorage]:
    storage = EmbeddedStorage.memory()
    yield storage
    storage.close()


@pytest.fixture
def gate(storage: EmbeddedStorage) -> Gate:
    return build_gate(storage, Certificates(), AccessOptions(), now=lambda: NOW, randomness=random.Random(1))


def create(storage: EmbeddedStorage, obj: Object) -> str:
    resource = scheme.by_kind()[(*scheme.parse_api_version(obj["apiVersion"]), obj["kind"])]
    key = resource.key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
    value, splice = codec.encode(obj)
    storage.create(key, value, splice=splice)
    return key


def may(gate: Gate, name: str, verb: str, resource: str) -> bool:
    user = gate.identify("local", name.encode()).user
    return gate.authorizer.authorize(Attributes(user, verb, "", "v1", resource, namespace="shop")).allowed


def test_a_first_start_writes_the_defaults_and_a_second_writes_nothing(storage: EmbeddedStorage) -> None:
    wanted = len(bootstrap.default_objects())
    assert bootstrap.ensure(storage, now=NOW, randomness=random.Random(1)) == wanted
    assert bootstrap.ensure(storage, now=NOW, randomness=random.Random(1)) == 0


def test_a_default_role_that_was_deleted_comes_back(storage: EmbeddedStorage) -> None:
    bootstrap.ensure(storage, now=NOW, randomness=random.Random(1))
    storage.delete(scheme.resource(RBAC, "v1", "clusterroles").key("", "view"))
    assert bootstrap.ensure(storage, now=NOW, randomness=random.Random(1)) == 1


def test_components_of_the_process_have_their_roles(gate: Gate) -> None:
    assert may(gate, "system:kube-scheduler", "list", "pods")
    assert not may(gate, "system:kube-scheduler", "list", "secrets")
    assert may(gate, "system:serviceaccount:kube-system:replicaset-controller", "create", "pods")
    assert may(gate, "system:node:a", "get", "pods")
    assert may(gate, "kubernetes-admin", "delete", "secrets")


def test_a_binding_counts_from_its_write_to_its_deletion(gate: Gate, storage: EmbeddedStorage) -> None:
    assert not may(gate, "alice", "get", "pods")
    create(storage, rbac("ClusterRole", "r", rules=[rule("get", "pods")]))
    key = create(storage, binding("b", "r", ("User", "alice")))
    assert may(gate, "alice", "get", "pods")
    storage.delete(key)
    assert not may(gate, "alice", "get", "pods")


def test_a_service_account_moves_the_storages_epoch_and_not_rbacs(storage: EmbeddedStorage) -> None:
    policy = StoredPolicy(storage)
    bootstrap.ensure(storage, now=NOW, randomness=random.Random(1))
    before, seen = policy.epoch(), storage.policy_epoch()
    create(storage, make("ServiceAccount", "robot", "shop"))
    assert storage.policy_epoch() != seen
    assert policy.epoch() == before
    create(storage, rbac("Role", "r", "shop", rules=[]))
    assert policy.epoch() != before


def test_impersonation_is_part_of_who_asks(gate: Gate) -> None:
    headers = [("impersonate-user", "jane")]
    assert gate.identify("local", b"kubernetes-admin", headers).user.name == "jane"
    with pytest.raises(Forbidden):
        gate.identify("local", b"alice", headers)


def test_a_wrong_token_is_nobody(gate: Gate) -> None:
    with pytest.raises(Unauthorized):
        gate.identify("token", b"a.b.c")
