"""The storage protocol over the embedded store in memory."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from kubecore.apiserver.storage import (
    Delete,
    KeyAbsent,
    KeyExists,
    Put,
    RevisionCompacted,
    RevisionInFuture,
    RevisionMismatch,
    StorageUnavailable,
    ValueTooLarge,
)
from kubecore.apiserver.storage.embedded import CACHED_OBJECTS_MAX, EmbeddedStorage

WEB = "/registry/core/pods/default/web"
PODS = "/registry/core/pods/"


@pytest.fixture
def storage() -> EmbeddedStorage:
    return EmbeddedStorage.memory(threadless=True)


def pod(name: str = "web", **fields: object) -> tuple[bytes, int]:
    value = json.dumps({"metadata": {"resourceVersion": "", "name": name}, **fields}, separators=(",", ":")).encode()
    return value, value.index(b'""') + 1


def create(storage: EmbeddedStorage, key: str, **fields: object) -> int:
    value, splice = pod(key.rpartition("/")[2], **fields)
    return storage.create(key, value, splice=splice).revision


def test_a_created_object_carries_its_revision_as_resource_version(storage: EmbeddedStorage) -> None:
    revision = create(storage, WEB)
    stored = storage.get(WEB)
    assert stored is not None
    assert stored.object["metadata"]["resourceVersion"] == str(revision) == str(storage.revision())
    assert (stored.create_revision, stored.version) == (revision, 1)


def test_an_object_is_decoded_once_for_all_who_read_it(storage: EmbeddedStorage) -> None:
    create(storage, WEB)
    first, second = storage.get(WEB), storage.get(WEB)
    assert first is not None
    assert second is not None
    assert first.object is second.object
    assert storage.list(PODS).items[0].object is first.object


def test_a_reader_sees_the_update_and_not_what_it_decoded_before(storage: EmbeddedStorage) -> None:
    revision = create(storage, WEB)
    before = storage.get(WEB)
    value, splice = pod(status="Running")
    storage.update(WEB, value, splice=splice, expected=revision)
    after = storage.get(WEB)
    assert before is not None
    assert after is not None
    assert "status" not in before.object
    assert after.object["status"] == "Running"
    assert (after.create_revision, after.version) == (revision, 2)


def test_creating_what_exists_names_its_revision(storage: EmbeddedStorage) -> None:
    revision = create(storage, WEB)
    with pytest.raises(KeyExists) as raised:
        create(storage, WEB)
    assert (raised.value.key, raised.value.actual) == (WEB, revision)


def test_updating_at_a_stale_revision_is_a_mismatch(storage: EmbeddedStorage) -> None:
    stale = create(storage, WEB)
    value, splice = pod()
    fresh = storage.update(WEB, value, splice=splice, expected=stale).revision
    with pytest.raises(RevisionMismatch) as raised:
        storage.update(WEB, value, splice=splice, expected=stale)
    assert (raised.value.expected, raised.value.actual) == (stale, fresh)


def test_updating_and_deleting_what_is_absent_say_so(storage: EmbeddedStorage) -> None:
    value, splice = pod()
    with pytest.raises(KeyAbsent):
        storage.update(WEB, value, splice=splice, expected=7)
    with pytest.raises(KeyAbsent):
        storage.delete(WEB)
    assert storage.revision() == 1


def test_a_deleted_object_is_shown_with_the_revision_of_its_deletion(storage: EmbeddedStorage) -> None:
    create(storage, WEB)
    last = storage.delete(WEB)
    assert last.object["metadata"] == {"resourceVersion": str(storage.revision()), "name": "web"}
    assert storage.get(WEB) is None


def test_a_list_is_paged_at_one_revision(storage: EmbeddedStorage) -> None:
    for name in "abcde":
        create(storage, PODS + "default/" + name)
    first = storage.list(PODS, limit=2)
    storage.delete(PODS + "default/c")
    rest = storage.list(PODS, start_after=first.items[-1].key, revision=first.revision)
    names = [item.object["metadata"]["name"] for item in [*first.items, *rest.items]]
    assert names == list("abcde")
    assert (first.remaining, rest.remaining, rest.revision) == (3, 0, first.revision)


def test_a_list_at_a_forgotten_or_coming_revision_is_refused(storage: EmbeddedStorage) -> None:
    old = create(storage, WEB)
    create(storage, WEB + "2")
    storage.compact(storage.revision())
    with pytest.raises(RevisionCompacted):
        storage.list(PODS, revision=old)
    with pytest.raises(RevisionInFuture):
        storage.list(PODS, revision=storage.revision() + 1)


def test_a_transaction_writes_all_under_one_revision(storage: EmbeddedStorage) -> None:
    create(storage, WEB)
    value, splice = pod("other")
    deleted, put = storage.transact([Delete(WEB), Put(WEB + "2", value, splice, expected=0)])
    assert deleted.key == WEB
    assert put.key == WEB + "2"
    assert deleted.revision == put.revision == storage.revision()


def test_a_transaction_that_cannot_be_done_leaves_nothing(storage: EmbeddedStorage) -> None:
    revision = create(storage, WEB)
    value, splice = pod()
    with pytest.raises(KeyExists):
        storage.transact([Put(WEB + "2", value, splice), Put(WEB, value, splice, expected=0)])
    assert storage.get(WEB + "2") is None
    assert storage.revision() == revision


def test_a_value_over_the_limit_is_too_large(storage: EmbeddedStorage) -> None:
    with pytest.raises(ValueTooLarge):
        storage.create(WEB, b'"' + b"x" * (2 << 20) + b'"', splice=-1)


def test_an_event_deletes_itself_when_its_hour_is_over(storage: EmbeddedStorage) -> None:
    storage.store.tick(1000.0)
    value, splice = pod()
    storage.create(WEB, value, splice=splice, ttl_seconds=3600)
    assert storage.store.tick(1001.0) is not None
    assert storage.get(WEB) is not None
    storage.store.tick(1000.0 + 3600)
    assert storage.get(WEB) is None


def test_a_change_of_policy_moves_the_epoch_and_others_do_not(storage: EmbeddedStorage) -> None:
    before = storage.policy_epoch()
    create(storage, WEB)
    assert storage.policy_epoch() == before
    create(storage, "/registry/rbac.authorization.k8s.io/roles/default/reader")
    changed = storage.policy_epoch()
    storage.delete("/registry/rbac.authorization.k8s.io/roles/default/reader")
    assert before < changed < storage.policy_epoch()


def test_a_closed_storage_takes_no_writes(storage: EmbeddedStorage) -> None:
    storage.close()
    with pytest.raises(StorageUnavailable):
        create(storage, WEB)


def test_the_cache_of_decoded_objects_is_bounded(storage: EmbeddedStorage) -> None:
    for number in range(CACHED_OBJECTS_MAX + 10):
        storage.create(f"{PODS}default/{number}", b"{}", splice=-1)
    assert len(storage._cache) == CACHED_OBJECTS_MAX


def test_with_a_log_writer_what_was_waited_for_is_durable() -> None:
    storage = EmbeddedStorage.memory()
    revision = create(storage, WEB)
    storage.wait_durable(revision)
    assert storage.durable_revision() >= revision
    storage.close()


def test_several_threads_may_read_more_than_the_cache_holds() -> None:
    storage = EmbeddedStorage.memory()
    keys = [f"/registry/core/pods/default/pod-{number}" for number in range(CACHED_OBJECTS_MAX + 500)]
    for key in keys:
        storage.create(key, b'{"metadata":{"resourceVersion":""}}', splice=32)

    def read_all() -> int:
        return sum(len(storage.list("/registry/core/pods/").items) for _ in range(5))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as readers:
            counts = [reader.result() for reader in [readers.submit(read_all) for _ in range(4)]]
    finally:
        sys.setswitchinterval(interval)
    storage.close()
    assert counts == [5 * len(keys)] * 4
