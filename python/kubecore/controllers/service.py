"""Service: load balancers for services of type LoadBalancer, from a provider that the program lends.

In: services, nodes. Out: whatever the provider makes, and its addresses in the service's status. Without a provider
(`load_balancer_provider` in the options) the controller waits: such services stay pending, as on any cluster without
a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import core
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.node_plan import ready_status

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


class LoadBalancerError(Exception):
    """The provider could not do it now; it is asked again later."""


class LoadBalancerProvider(Protocol):
    """Both calls may come again for what is done already."""

    async def ensure(self, service: Object, nodes: Sequence[Object]) -> list[Object]:
        """Makes the load balancer as the service wants it now; gives its addresses: `{"ip": ...}` or `{"hostname":
        ...}`."""
        ...

    async def delete(self, service: Object) -> None: ...


def wants_load_balancer(service: Object) -> bool:
    spec = service["spec"]
    return (
        spec.get("type") == "LoadBalancer"
        and not spec.get("loadBalancerClass")
        and not service["metadata"].get("deletionTimestamp")
    )


def is_target(node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    return EXCLUDED not in labels and not node["metadata"].get("deletionTimestamp") and ready_status(node) == "True"


class Services(Controller):
    name = "service-lb-controller"
    identity = component = "service-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._provider: LoadBalancerProvider | None = context.options.get("load_balancer_provider")
        if self._provider is None:
            return
        self._services = self.enqueue_changes_of(core("services"))
        self._nodes = self.informer(core("nodes"))
        self._nodes.add_handler(self._node_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if (old is not None and is_target(old)) == (new is not None and is_target(new)):
            return
        for service in self._services.list():
            if wants_load_balancer(service):
                self.queue.add(key_of(service))

    async def reconcile(self, key: str) -> None:
        service = self._services.get(key)
        assert self._provider is not None, "without a provider nothing is enqueued"
        if service is None:
            return
        held = FINALIZER in (service["metadata"].get("finalizers") or ())
        try:
            if wants_load_balancer(service):
                await self._ensure(self._provider, service, held=held)
            elif held:
                await self._release(self._provider, service)
        except LoadBalancerError as failure:
            self.recorder.event(service, "Warning", "SyncLoadBalancerFailed", f"Error syncing load balancer: {failure}")
            self.queue.add_rate_limited(key)

    async def _ensure(self, provider: LoadBalancerProvider, service: Object, *, held: bool) -> None:
        if not held:
            finalizers = [*(service["metadata"].get("finalizers") or ()), FINALIZER]
            service = await self._set_finalizers(service, finalizers)
        self.recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        ingress = await provider.ensure(service, [node for node in self._nodes.list() if is_target(node)])
        # As the server will complete it: otherwise it would look changed each time.
        ingress = [{"ipMode": "VIP", **each} if each.get("ip") else each for each in ingress]
        status = {**service.get("status", {}), "loadBalancer": {"ingress": ingress} if ingress else {}}
        if status != service.get("status", {}):
            await self.client.update_status(core("services"), {**service, "status": status})
        self.recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    async def _release(self, provider: LoadBalancerProvider, service: Object) -> None:
        self.recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        await provider.delete(service)
        status = {**service.get("status", {}), "loadBalancer": {}}
        if status != service.get("status", {}) and not service["metadata"].get("deletionTimestamp"):
            service = await self.client.update_status(core("services"), {**service, "status": status})
        await self._set_finalizers(service, [each for each in service["metadata"]["finalizers"] if each != FINALIZER])
        self.recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _set_finalizers(self, service: Object, finalizers: list[str]) -> Object:
        """Through the status, as upstream does: the controller may not write services themselves."""
        metadata = service["metadata"]
        change = {"metadata": {"finalizers": finalizers or None, "resourceVersion": metadata["resourceVersion"]}}
        return await self.client.patch(
            core("services"), metadata["namespace"], metadata["name"], change, subresource="status"
        )
