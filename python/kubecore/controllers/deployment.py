"""Deployment: rolls its pods from template to template by way of ReplicaSets.

In: Deployments, their ReplicaSets, and pods (Recreate waits for the last one to be gone). Out: ReplicaSets created,
scaled, cleaned up; revision annotations; the Deployment's status. The arithmetic is in `deployment_plan`, the status
in `deployment_status`, revisions in `deployment_revision`.
"""

from __future__ import annotations

from kubecore.api import errors, labels
from kubecore.api.meta import Object, key_of, labels_of, namespace_of, uid_of
from kubecore.api.scheme import core, resource
from kubecore.controllers import conditions, pods
from kubecore.controllers import deployment_plan as planning
from kubecore.controllers import deployment_revision as revisions
from kubecore.controllers import deployment_status as statuses
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.ownership import adoption, is_namespace_terminating, release


class Deployment(Controller):
    name = identity = component = "deployment-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resource = resource("apps", "v1", "deployments")
        self._sets = resource("apps", "v1", "replicasets")
        self._deployments = self.enqueue_changes_of(self._resource)
        self._deployments.add_index(pods.BY_NAMESPACE, pods.by_namespace)
        self._replica_sets = self.informer(self._sets)
        self._replica_sets.add_index(pods.BY_CONTROLLER, pods.by_controller)
        self._pods = self.informer(core("pods"))
        self._pods.add_index(pods.BY_CONTROLLER, pods.by_controller)
        self._replica_sets.add_handler(self._replica_set_changed)
        self._pods.add_handler(self._pod_changed)

    # ── what wakes a Deployment ──

    def _replica_set_changed(self, old: Object | None, new: Object | None) -> None:
        for replica_set in (old, new):
            key = self._owner_key(replica_set) if replica_set is not None else ""
            if key:
                self.queue.add(key)
        if new is not None and not pods.controller_uid(new):
            for deployment in self._deployments.by_index(pods.BY_NAMESPACE, namespace_of(new)):
                if _selects(deployment, new):
                    self.queue.add(key_of(deployment))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """Recreate waits until the last old pod is gone."""
        if new is not None or old is None:
            return
        for reference in old["metadata"].get("ownerReferences") or ():
            if reference.get("controller") and reference["kind"] == "ReplicaSet":
                replica_set = self._replica_sets.get(f"{namespace_of(old)}/{reference['name']}")
                key = self._owner_key(replica_set) if replica_set is not None else ""
                deployment = self._deployments.get(key)
                if deployment is not None and not planning.is_rolling(deployment):
                    self.queue.add(key)

    def _owner_key(self, replica_set: Object) -> str:
        for reference in replica_set["metadata"].get("ownerReferences") or ():
            if reference.get("controller") and reference["kind"] == "Deployment":
                return f"{namespace_of(replica_set)}/{reference['name']}"
        return ""

    # ── one Deployment ──

    async def reconcile(self, key: str) -> None:
        deployment = self._deployments.get(key)
        if deployment is None:
            return
        if labels.is_empty(deployment["spec"].get("selector")):
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self.recorder.event(deployment, "Warning", "SelectingAll", message)
            return
        replica_sets = await self._claim(deployment)
        if deployment["metadata"].get("deletionTimestamp"):
            new = revisions.find_new(deployment, replica_sets)
            await self._write_status(deployment, statuses.counts(deployment, replica_sets, new, now=self.clock.now()))
            return
        if await self._note_pause(deployment):
            return
        if deployment["spec"].get("paused") or _was_resized(deployment, replica_sets):
            await self._resize(deployment, replica_sets)
        elif planning.is_rolling(deployment):
            await self._roll(deployment, replica_sets)
        else:
            await self._recreate(deployment, replica_sets)

    async def _claim(self, deployment: Object) -> list[Object]:
        """The Deployment's ReplicaSets; matching orphans are adopted, those that match no more are released."""
        owned = list(self._replica_sets.by_index(pods.BY_CONTROLLER, uid_of(deployment)))
        kept = [each for each in owned if _selects(deployment, each)]
        if deployment["metadata"].get("deletionTimestamp"):
            return kept
        released = [each for each in owned if not _selects(deployment, each)]
        orphans = self._replica_sets.by_index(pods.BY_CONTROLLER, pods.ORPHANS + namespace_of(deployment))
        adopted = [
            each for each in orphans if _selects(deployment, each) and not each["metadata"].get("deletionTimestamp")
        ]
        if adopted:
            fresh = await self.client.get(self._resource, namespace_of(deployment), deployment["metadata"]["name"])
            if uid_of(fresh) != uid_of(deployment) or fresh["metadata"].get("deletionTimestamp"):
                adopted = []
        kept += [await self.client.send(adoption(self._sets, each, deployment)) for each in adopted]
        for each in released:
            await self.client.send(release(self._sets, each, deployment))
        return kept

    async def _note_pause(self, deployment: Object) -> bool:
        """The Progressing condition tells of a pause and of its end. True: the status was written, and that wakes us
        again."""
        listed = deployment.get("status", {}).get("conditions")
        current = conditions.find(listed, statuses.PROGRESSING)
        reason = current.get("reason") if current else None
        if not statuses.has_deadline(deployment) or reason == statuses.TIMED_OUT:
            return False
        paused = bool(deployment["spec"].get("paused"))
        if paused == (reason == "DeploymentPaused"):
            return False
        words = (
            ("DeploymentPaused", "Deployment is paused") if paused else ("DeploymentResumed", "Deployment is resumed")
        )
        noted = statuses.condition(statuses.PROGRESSING, "Unknown", *words, now=self.clock.now())
        status = {**deployment.get("status", {}), "conditions": statuses.put(listed, noted)}
        await self.client.update_status(self._resource, {**deployment, "status": status})
        return True

    # ── strategies ──

    async def _roll(self, deployment: Object, replica_sets: list[Object]) -> None:
        found = await self._new_replica_set(deployment, replica_sets)
        if found is None:
            return
        deployment, new = found
        old = [each for each in replica_sets if uid_of(each) != uid_of(new)]
        scaling = planning.roll(deployment, new, old)
        replica_sets = await self._scale(deployment, [*old, new], scaling)
        await self._finish(deployment, replica_sets, settled=not scaling)

    async def _recreate(self, deployment: Object, replica_sets: list[Object]) -> None:
        new = revisions.find_new(deployment, replica_sets)
        old = [each for each in replica_sets if new is None or uid_of(each) != uid_of(new)]
        scaling = [(each, 0) for each in old if planning.replicas_of(each) > 0]
        if scaling or self._has_running_pods(old):
            await self._finish(deployment, await self._scale(deployment, replica_sets, scaling), settled=False)
            return
        found = await self._new_replica_set(deployment, replica_sets)
        if found is None:
            return
        deployment, new = found
        wanted = planning.replicas_of(deployment)
        scaling = [(new, wanted)] if planning.replicas_of(new) != wanted else []
        await self._finish(deployment, await self._scale(deployment, [*old, new], scaling), settled=not scaling)

    def _has_running_pods(self, old: list[Object]) -> bool:
        if planning.total(old) > 0:
            return True
        return any(
            pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            for replica_set in old
            for pod in self._pods.by_index(pods.BY_CONTROLLER, uid_of(replica_set))
        )

    async def _resize(self, deployment: Object, replica_sets: list[Object]) -> None:
        """Paused, or resized meanwhile: no rollout, only sizes."""
        new = revisions.find_new(deployment, replica_sets)
        old = [each for each in replica_sets if new is None or uid_of(each) != uid_of(new)]
        replica_sets = await self._scale(deployment, replica_sets, planning.resize(deployment, new, old))
        if deployment["spec"].get("paused"):
            await self._clean_up(deployment, old)
        new = revisions.find_new(deployment, replica_sets)
        await self._write_status(deployment, statuses.counts(deployment, replica_sets, new, now=self.clock.now()))

    async def _finish(self, deployment: Object, replica_sets: list[Object], *, settled: bool) -> None:
        new = revisions.find_new(deployment, replica_sets)
        if settled and statuses.is_complete(deployment, deployment.get("status", {})):
            await self._clean_up(deployment, [each for each in replica_sets if each is not new])
        status = statuses.rollout(deployment, replica_sets, new, now=self.clock.now())
        await self._write_status(deployment, status)
        due = statuses.deadline({**deployment, "status": status})
        if due is not None and not statuses.is_complete(deployment, status):
            self.queue.add_after(key_of(deployment), max(1.0, due - self.clock.now() + 1))

    # ── writes ──

    async def _new_replica_set(self, deployment: Object, replica_sets: list[Object]) -> tuple[Object, Object] | None:
        """The (Deployment, ReplicaSet) of the present template, made if there is none. None: try again when woken."""
        new = revisions.find_new(deployment, replica_sets)
        old = [each for each in replica_sets if new is None or uid_of(each) != uid_of(new)]
        revision = revisions.next_revision(old)
        if new is None:
            new = await self._create(deployment, replica_sets, revision)
            if new is None:
                return None
            note = ("NewReplicaSetCreated", f'Created new replica set "{new["metadata"]["name"]}"')
        else:
            annotations = revisions.annotations_for(deployment, new, revision)
            wait = deployment["spec"].get("minReadySeconds", 0)
            if annotations != new["metadata"].get("annotations") or wait != new["spec"].get("minReadySeconds", 0):
                metadata = {**new["metadata"], "annotations": annotations}
                spec = {**new["spec"], "minReadySeconds": wait}
                new = await self.client.update(self._sets, {**new, "metadata": metadata, "spec": spec})
            note = ("FoundNewReplicaSet", f'Found new replica set "{new["metadata"]["name"]}"')
        return await self._note_revision(deployment, new, *note), new

    async def _note_revision(self, deployment: Object, new: Object, reason: str, message: str) -> Object:
        """The revision as an annotation, and the Progressing condition of a rollout that begins; gives the Deployment
        with both."""
        text = str(revisions.revision_of(new))
        annotations = deployment["metadata"].get("annotations") or {}
        if annotations.get(planning.REVISION) != text:
            metadata = {**deployment["metadata"], "annotations": {**annotations, planning.REVISION: text}}
            deployment = await self.client.update(self._resource, {**deployment, "metadata": metadata})
        listed = deployment.get("status", {}).get("conditions")
        current = conditions.find(listed, statuses.PROGRESSING)
        begins = reason == "NewReplicaSetCreated" or current is None
        if statuses.has_deadline(deployment) and begins:
            noted = statuses.condition(statuses.PROGRESSING, "True", reason, message, now=self.clock.now())
            status = {**deployment.get("status", {}), "conditions": statuses.put(listed, noted)}
            deployment = await self.client.update_status(self._resource, {**deployment, "status": status})
        return deployment

    async def _create(self, deployment: Object, replica_sets: list[Object], revision: int) -> Object | None:
        replicas = planning.new_replica_set_size(deployment, replica_sets, 0)
        wanted = revisions.new_replica_set(deployment, replicas=replicas, revision=revision)
        name = wanted["metadata"]["name"]
        try:
            made = await self.client.create(self._sets, wanted)
        except errors.AlreadyExists:
            return await self._resolve_collision(deployment, wanted)
        except errors.StatusError as failure:
            if is_namespace_terminating(failure):
                return None
            message = f'Failed to create new replica set "{name}": {failure.message}'
            self.recorder.event(deployment, "Warning", "ReplicaSetCreateError", message)
            if statuses.has_deadline(deployment):
                await self._note_failure(deployment, message)
            raise
        if replicas > 0:
            self._say_scaled(deployment, name, 0, replicas)
        return made

    async def _resolve_collision(self, deployment: Object, wanted: Object) -> Object | None:
        """The name is taken: by our own ReplicaSet that the informer has not shown yet, or by another: then the next
        hash is tried."""
        found = await self.client.get(self._sets, namespace_of(deployment), wanted["metadata"]["name"])
        if pods.controller_uid(found) == uid_of(deployment) and revisions.find_new(deployment, [found]):
            return found
        status = dict(deployment.get("status", {}))
        status["collisionCount"] = (status.get("collisionCount") or 0) + 1
        await self.client.update_status(self._resource, {**deployment, "status": status})
        return None

    async def _note_failure(self, deployment: Object, message: str) -> None:
        listed = deployment.get("status", {}).get("conditions")
        noted = statuses.condition(
            statuses.PROGRESSING, "False", "ReplicaSetCreateError", message, now=self.clock.now()
        )
        status = {**deployment.get("status", {}), "conditions": statuses.put(listed, noted)}
        await self._write_status(deployment, status)

    async def _scale(self, deployment: Object, replica_sets: list[Object], scaling: planning.Scaling) -> list[Object]:
        """Applies sizes and keeps the size annotations true; gives the ReplicaSets as they are afterwards."""
        sizes = {uid_of(replica_set): size for replica_set, size in scaling}
        after = []
        for replica_set in replica_sets:
            size = sizes.get(uid_of(replica_set))
            before = planning.replicas_of(replica_set)
            annotations = replica_set["metadata"].get("annotations") or {}
            noted = {**annotations, **revisions.size_annotations(deployment)}
            if size is None or (size == before and (annotations == noted or size == 0)):
                after.append(replica_set)
                continue
            metadata = {**replica_set["metadata"], "annotations": noted}
            spec = {**replica_set["spec"], "replicas": size}
            written = await self.client.update(self._sets, {**replica_set, "metadata": metadata, "spec": spec})
            after.append(written)
            if size != before:
                self._say_scaled(deployment, replica_set["metadata"]["name"], before, size)
        return after

    def _say_scaled(self, deployment: Object, name: str, before: int, after: int) -> None:
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {name} from {before} to {after}"
        self.recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _clean_up(self, deployment: Object, old: list[Object]) -> None:
        for replica_set in revisions.to_clean_up(deployment, old):
            try:
                await self.client.delete(self._sets, namespace_of(replica_set), replica_set["metadata"]["name"])
            except errors.NotFound:
                continue

    async def _write_status(self, deployment: Object, status: Object) -> None:
        if status != _comparable(deployment.get("status", {})):
            await self.client.update_status(self._resource, {**deployment, "status": status})


def _comparable(status: Object) -> Object:
    """A status without the zeros that a server may have filled in."""
    return {name: value for name, value in status.items() if value or name == "terminatingReplicas"}


def _selects(deployment: Object, replica_set: Object) -> bool:
    selector = deployment["spec"].get("selector")
    return not labels.is_empty(selector) and labels.matches(selector, labels_of(replica_set))


def _was_resized(deployment: Object, replica_sets: list[Object]) -> bool:
    """Whether an active ReplicaSet remembers another size than the Deployment has now."""
    wanted = str(planning.replicas_of(deployment))
    for replica_set in replica_sets:
        remembered = (replica_set["metadata"].get("annotations") or {}).get(planning.DESIRED)
        if planning.replicas_of(replica_set) > 0 and remembered is not None and remembered != wanted:
            return True
    return False
