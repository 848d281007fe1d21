"""Service: load balancers for services of type LoadBalancer, from a provider.

In: services, nodes. Out: whatever the provider makes, and its addresses in the service's status. The provider is the
one that the program lends (`load_balancer_provider` in the options), else the built-in pool of addresses
(`load_balancer_cidr`). Without either the controller waits: such services stay pending, as on any cluster without a cloud.
"""

from __future__ import annotations

from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import core
from kubecore.controllers.address_pool import AddressPool
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.load_balancer import LoadBalancerError, LoadBalancerProvider
from kubecore.controllers.node_plan import ready_status

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"

Made = tuple[str, tuple[str, ...]]
"""What a load balancer was made for: the service as text, the nodes."""


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
        self._provider = _provider(context)
        if self._provider is None:
            return
        self._made: dict[str, Made] = {}
        self._services = self.enqueue_changes_of(core("services"))
        self._services.add_handler(self._service_changed)
        self._nodes = self.informer(core("nodes"))
        self._nodes.add_handler(self._node_changed)

    async def start(self) -> None:
        if self._provider is not None:
            await self._provider.start(list(self._services.list()))

    def _service_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or new["metadata"].get("deletionTimestamp"):
            return
        before, after = old["spec"].get("type"), new["spec"].get("type")
        if before != after and "LoadBalancer" in (before, after):
            self.recorder.event(new, "Normal", "Type", f"{before} -> {after}")

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
            self._made.pop(key, None)
            return
        held = FINALIZER in (service["metadata"].get("finalizers") or ())
        try:
            if wants_load_balancer(service):
                await self._ensure(self._provider, service, held=held)
            elif held:
                await self._release(self._provider, service)
        except LoadBalancerError as failure:
            self._made.pop(key, None)
            self.recorder.event(service, "Warning", "SyncLoadBalancerFailed", f"Error syncing load balancer: {failure}")
            self.queue.add_rate_limited(key)

    async def _ensure(self, provider: LoadBalancerProvider, service: Object, *, held: bool) -> None:
        key = key_of(service)
        nodes = [node for node in self._nodes.list() if is_target(node)]
        wanted: Made = (_text(service), tuple(sorted(node["metadata"]["name"] for node in nodes)))
        made = self._made.get(key)
        has_address = bool((service.get("status", {}).get("loadBalancer") or {}).get("ingress"))
        if held and has_address and made == wanted:
            return
        if not held:
            finalizers = [*(service["metadata"].get("finalizers") or ()), FINALIZER]
            service = await self._set_finalizers(service, finalizers)
        only_nodes = made is not None and has_address and made[0] == wanted[0]
        if not only_nodes:
            self.recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        ingress = await provider.ensure(service, nodes)
        # As the server will complete it: otherwise it would look changed each time.
        ingress = [{"ipMode": "VIP", **each} if each.get("ip") else each for each in ingress]
        status = {**service.get("status", {}), "loadBalancer": {"ingress": ingress} if ingress else {}}
        if status != service.get("status", {}):
            await self.client.update_status(core("services"), {**service, "status": status})
        self._made[key] = wanted
        if only_nodes:
            self.recorder.event(service, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")
        else:
            self.recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    async def _release(self, provider: LoadBalancerProvider, service: Object) -> None:
        self.recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        await provider.delete(service)
        self._made.pop(key_of(service), None)
        status = {**service.get("status", {}), "loadBalancer": {}}
        if status != service.get("status", {}) and not service["metadata"].get("deletionTimestamp"):
            service = await self.client.update_status(core("services"), {**service, "status": status})
        await self._set_finalizers(service, [each for each in service["metadata"]["finalizers"] if each != FINALIZER])
        self.recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        """Who found nothing free may find it now."""
        for service in self._services.list():
            if wants_load_balancer(service) and key_of(service) not in self._made:
                self.queue.add(key_of(service))

    async def _set_finalizers(self, service: Object, finalizers: list[str]) -> Object:
        """Through the status, as upstream does: the controller may not write services themselves."""
        metadata = service["metadata"]
        change = {"metadata": {"finalizers": finalizers or None, "resourceVersion": metadata["resourceVersion"]}}
        return await self.client.patch(
            core("services"), metadata["namespace"], metadata["name"], change, subresource="status"
        )


def _provider(context: Context) -> LoadBalancerProvider | None:
    """Raises ValueError for a pool that is none."""
    lent: LoadBalancerProvider | None = context.options.get("load_balancer_provider")
    cidrs = [each.strip() for each in context.options.get("load_balancer_cidr", "").split(",") if each.strip()]
    return lent if lent is not None or not cidrs else AddressPool(cidrs)


def _text(service: Object) -> str:
    """All of a service that a load balancer may depend on."""
    return repr((service["spec"], service["metadata"].get("annotations")))
