"""The one path of every stored resource: create, update, patch, delete. What differs is in its strategy.

The order of a write is the design's: decode (done by the caller) → match the URL → mutating admission → strategy: prepare, validate →
validating admission → encode → store with a compare. A compare that fails means that somebody else wrote in between: the whole
function runs again on what is stored now, unless the client itself named the version, in which case that check refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import codec, errors
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry import metadata as meta
from kubecore.apiserver.registry.admission import AdmissionRequest, Companion, Operation
from kubecore.apiserver.registry.deletion import Deletion, plan_deletion
from kubecore.apiserver.registry.environment import Environment, Write, encode_json
from kubecore.apiserver.registry.strategy import Strategy
from kubecore.apiserver.storage.protocol import KeyAbsent, KeyExists, Put, RevisionMismatch, Stored

WRITE_ATTEMPTS_MAX = 5
"""How often a write is decided again when its compare fails; then the client gets the conflict."""
NAME_ATTEMPTS_MAX = 8
"""How many generated names are tried."""

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"

Make = Callable[[Stored, Object], Object]
"""(stored, its object) → the new object, which nobody else holds: what PUT sent, or what a patch makes of it."""


class GenericStore:
    """One resource's mutations. Gives complete JSON: the stored bytes, or what would have been stored."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.resource: Resource = strategy.resource
        self.environment: Environment = strategy.environment
        self.storage = strategy.environment.storage

    # ───────────────────────────── create ─────────────────────────────

    def create(self, write: Write, obj: Object) -> bytes:
        """Raises AlreadyExists, Invalid, BadRequest, whatever admission raises."""
        meta.match_namespace(self.resource, obj, write.namespace)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion", "0") not in ("", "0"):
            raise errors.StatusError("resourceVersion should not be set on objects to be created", reason="")
        meta.clear_server_fields(metadata)
        metadata["uid"] = self.environment.uid()
        metadata["creationTimestamp"] = self.environment.now()
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._free_name(write.namespace, metadata["generateName"])
        write.name = metadata.get("name", "")
        for _ in range(WRITE_ATTEMPTS_MAX):
            try:
                return self._create_once(write, obj)
            except KeyExists as failure:
                raise self._already_exists(write) from failure
            except RevisionMismatch:
                continue  # a companion's: the quota moved on
        raise self._conflict(write.name, MODIFIED)

    def _create_once(self, write: Write, obj: Object) -> bytes:
        strategy = self.strategy
        request = self._admission_request("CREATE", write, obj, None)
        self.environment.admission.mutate(request)
        strategy.prepare_for_create(write, obj)
        found = meta.validate(obj["metadata"], namespaced=self.resource.namespaced, name_shape=strategy.name_shape)
        found += strategy.validate_create(write, obj)
        if found:
            raise self._invalid(write.name, found)
        strategy.authorize(write, obj, None)
        self.environment.admission.validate(request)
        write.warnings.extend(strategy.warnings(obj))
        key = self.resource.key(write.namespace, write.name)
        if write.dry_run:
            if self.storage.get(key) is not None:
                raise self._already_exists(write)
            obj["metadata"].pop("resourceVersion", None)
            return encode_json(obj)
        stored = self._put(key, obj, 0, request.companions)
        strategy.written(obj, None)
        return stored.value

    def _free_name(self, namespace: str, base: str) -> str:
        for _ in range(NAME_ATTEMPTS_MAX):
            name = self.environment.generate_name(base)
            if self.storage.get(self.resource.key(namespace, name)) is None:
                return name
        raise errors.AlreadyExists(
            f'{self.resource.qualified} "{name}" already exists, the server was not able to generate a unique name '
            "for the object",
            details={"name": name, "group": self.resource.group, "kind": self.resource.plural},
            retry_after_seconds=1,
        )

    def _already_exists(self, write: Write) -> errors.AlreadyExists:
        error = errors.already_exists(self.resource.plural, self.resource.group, write.name)
        stored = self.storage.get(self.resource.key(write.namespace, write.name))
        if stored is not None and "deletionTimestamp" in stored.object["metadata"]:
            error.message = f"object is being deleted: {error.message}"
        return error

    # ───────────────────────────── update ─────────────────────────────

    def update(self, write: Write, make: Make) -> tuple[bytes, bool]:
        """PUT and PATCH, of the object or of one of its parts (`write.subresource`). Gives (JSON, whether it was created).
        Raises NotFound, Conflict, Invalid, BadRequest, whatever admission raises."""
        key = self.resource.key(write.namespace, write.name)
        for _ in range(WRITE_ATTEMPTS_MAX):
            stored = self.storage.get(key)
            if stored is None:
                raise errors.not_found(self.resource.plural, self.resource.group, write.name)
            try:
                return self._update_once(write, stored, make), False
            except (RevisionMismatch, KeyAbsent):
                continue
        raise self._conflict(write.name, MODIFIED)

    def create_or_update(self, write: Write, make: Make, new: Callable[[], Object]) -> tuple[bytes, bool]:
        """PUT to a resource that may come into being by it."""
        stored = self.storage.get(self.resource.key(write.namespace, write.name))
        if stored is not None or write.subresource or not self.strategy.allows_create_on_update:
            return self.update(write, make)
        obj = new()
        if obj.get("metadata", {}).get("resourceVersion", "0") not in ("", "0"):
            raise errors.not_found(self.resource.plural, self.resource.group, write.name)
        if self.environment.escalation is not None:
            self.environment.escalation.check_create(write.user, self.resource, write.namespace, write.name)
        return self.create(write, obj), True

    def _update_once(self, write: Write, stored: Stored, make: Make) -> bytes:
        strategy = self.strategy
        old = stored.object
        new = make(stored, old)
        metadata = new.setdefault("metadata", {})
        self._check_version(write.name, metadata, stored.revision, old)
        request = self._admission_request("UPDATE", write, new, old)
        self.environment.admission.mutate(request)
        metadata = new["metadata"]
        metadata["generation"] = old["metadata"].get("generation", 0)
        if not metadata["generation"]:
            del metadata["generation"]
        rule = strategy.updates[write.subresource]
        rule.prepare(write, new, old)
        meta.settle_update(new["metadata"], old["metadata"])
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        found = meta.validate_update(new["metadata"], old["metadata"])
        found += rule.validate(new, old)
        if found:
            raise self._invalid(write.name, found)
        strategy.authorize(write, new, old)
        self.environment.admission.validate(request)
        if not write.subresource:
            write.warnings.extend(strategy.warnings(new))
        if self._ends_deletion(new, old):
            return self._finish_deletion(write, stored, new)
        if new == old:
            return stored.value
        if write.dry_run:
            return encode_json(new)
        written = self._put(stored.key, new, stored.revision, request.companions)
        strategy.written(new, old)
        return written.value

    def _check_version(self, name: str, metadata: dict[str, Any], revision: int, old: Object) -> None:
        """The version and uid that the client names are those of the stored object."""
        given = metadata.get("resourceVersion") or "0"
        if given == "0":
            if not self.strategy.allows_unconditional_update:
                error = v.invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
                # Upstream names the resource here, not the kind.
                raise v.to_status(self.resource.plural, self.resource.group, name, [error])
        elif not given.isdecimal():
            raise self._invalid(
                name, [v.invalid_value("metadata.resourceVersion", given, "must be an unsigned integer")]
            )
        elif given != str(revision):
            raise self._conflict(name, MODIFIED)
        uid = metadata.get("uid")
        stored_uid = old["metadata"].get("uid", "")
        if uid and uid != stored_uid:
            raise self._conflict(
                name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored_uid}"
            )

    def _ends_deletion(self, new: Object, old: Object) -> bool:
        """The last finalizer of an object that is being deleted went, and its grace is over."""
        return (
            "deletionTimestamp" in old["metadata"]
            and not new["metadata"].get("deletionGracePeriodSeconds")
            and not self.strategy.is_held(new)
        )

    def _finish_deletion(self, write: Write, stored: Stored, new: Object) -> bytes:
        if write.dry_run:
            return encode_json(new)
        value, splice = codec.encode(new)
        gone = self.storage.delete(stored.key, expected=stored.revision, value=value, splice=splice)
        self.strategy.deleted(new)
        return gone.value

    # ───────────────────────────── delete ─────────────────────────────

    def delete(self, write: Write, options: dict[str, Any]) -> Deletion:
        """Raises NotFound, Conflict (preconditions), whatever admission raises."""
        key = self.resource.key(write.namespace, write.name)
        for _ in range(WRITE_ATTEMPTS_MAX):
            stored = self.storage.get(key)
            if stored is None:
                raise errors.not_found(self.resource.plural, self.resource.group, write.name)
            try:
                return self._delete_once(write, stored, options)
            except (RevisionMismatch, KeyAbsent):
                continue
        raise self._conflict(write.name, MODIFIED)

    def _delete_once(self, write: Write, stored: Stored, options: dict[str, Any]) -> Deletion:
        old = stored.object
        deletion = plan_deletion(self.strategy, old, options, self.environment.clock.now())
        request = self._admission_request("DELETE", write, None, old)
        self.environment.admission.mutate(request)
        self.environment.admission.validate(request)
        deletion.value = stored.value
        if deletion.state is None:
            return deletion
        if write.dry_run:
            deletion.value = encode_json(deletion.state)
            return deletion
        value, splice = codec.encode(deletion.state)
        if deletion.gone:
            written = self.storage.delete(stored.key, expected=stored.revision, value=value, splice=splice)
            self.strategy.deleted(old)
        else:
            written = self.storage.update(stored.key, value, splice=splice, expected=stored.revision)
            self.strategy.written(deletion.state, old)
        deletion.value = written.value
        return deletion

    # ───────────────────────────── for subresources ─────────────────────────────

    def rewrite(self, write: Write, change: Callable[[Object], Object | None]) -> bytes:
        """A change that is not the client's own object: a binding, a counted eviction. `change` gets the stored object (shared)
        and gives the new one, or None for no change; it runs again if somebody else wrote in between. Raises NotFound."""
        for _ in range(WRITE_ATTEMPTS_MAX):
            stored = self.get(write.namespace, write.name)
            new = change(stored.object)
            if new is None:
                return stored.value
            if write.dry_run:
                return encode_json(new)
            try:
                written = self._put(stored.key, new, stored.revision, [])
            except (RevisionMismatch, KeyAbsent):
                continue
            self.strategy.written(new, stored.object)
            return written.value
        raise self._conflict(write.name, MODIFIED)

    def admit(self, operation: Operation, write: Write, obj: Object | None) -> None:
        """Both admission phases for an object that is not stored itself: a Binding, an Eviction, a TokenRequest."""
        request = self._admission_request(operation, write, obj, None)
        self.environment.admission.mutate(request)
        self.environment.admission.validate(request)

    # ───────────────────────────── shared ─────────────────────────────

    def get(self, namespace: str, name: str) -> Stored:
        """Raises NotFound."""
        stored = self.storage.get(self.resource.key(namespace, name))
        if stored is None:
            raise errors.not_found(self.resource.plural, self.resource.group, name)
        return stored

    def _put(self, key: str, obj: Object, expected: int, companions: list[Companion]) -> Stored:
        value, splice = codec.encode(obj)
        if not companions:
            ttl_seconds = self.strategy.ttl_seconds
            if expected:
                return self.storage.update(key, value, splice=splice, expected=expected, ttl_seconds=ttl_seconds)
            return self.storage.create(key, value, splice=splice, ttl_seconds=ttl_seconds)
        puts = [Put(key, value, splice, expected)]
        for companion in companions:
            metadata = companion.object["metadata"]
            other = companion.resource.key(metadata.get("namespace", ""), metadata["name"])
            puts.append(Put(other, *codec.encode(companion.object), expected=int(metadata["resourceVersion"])))
        return self.storage.transact(puts)[0]

    def _admission_request(
        self, operation: Operation, write: Write, obj: Object | None, old: Object | None
    ) -> AdmissionRequest:
        return AdmissionRequest(
            user=write.user,
            operation=operation,
            resource=self.resource,
            subresource=write.subresource,
            namespace=write.namespace,
            name=write.name,
            object=obj,
            old_object=old,
            options=write.options,
            dry_run=write.dry_run,
            storage=self.environment.reader,
            warnings=write.warnings,
        )

    def _invalid(self, name: str, found: v.Errors) -> errors.Invalid:
        return v.to_status(self.resource.kind, self.resource.group, name, found)

    def _conflict(self, name: str, why: str) -> errors.Conflict:
        return errors.conflict(self.resource.plural, self.resource.group, name, why)
