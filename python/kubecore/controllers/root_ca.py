"""Root CA publisher: the ConfigMap `kube-root-ca.crt` in every namespace, by which pods know the API server.

In: namespaces, config maps, and the option `root_ca_pem`. Out: that ConfigMap, put back when somebody changes it.
"""

from __future__ import annotations

from kubecore.api import errors
from kubecore.api.meta import Object, name_of, namespace_of
from kubecore.api.scheme import core
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.ownership import is_namespace_terminating

NAME = "kube-root-ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
        "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
        "Kubernetes clusters."
    )
}


def plan(namespace: Object | None, current: Object | None, ca_pem: str) -> Object | None:
    """The ConfigMap to create or write, or None if it is right."""
    if namespace is None or namespace.get("status", {}).get("phase") == "Terminating":
        return None
    data = {"ca.crt": ca_pem}
    if current is None:
        metadata = {"name": NAME, "annotations": DESCRIPTION}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    annotations = current["metadata"].get("annotations") or {}
    if current.get("data") == data and DESCRIPTION.items() <= annotations.items():
        return None
    return {**current, "metadata": {**current["metadata"], "annotations": {**annotations, **DESCRIPTION}}, "data": data}


class RootCaPublisher(Controller):
    name = "root-ca-certificate-publisher-controller"
    identity = "root-ca-cert-publisher"
    component = "root-ca-cert-publisher"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._ca_pem: str = context.options.get("root_ca_pem", "")
        self._namespaces = self.enqueue_changes_of(core("namespaces"))
        self._config_maps = self.informer(core("configmaps"))
        self._config_maps.add_handler(self._config_map_changed)

    def _config_map_changed(self, old: Object | None, new: Object | None) -> None:
        changed = new if new is not None else old
        if changed is not None and name_of(changed) == NAME:
            self.queue.add(namespace_of(changed))

    async def reconcile(self, key: str) -> None:
        if not self._ca_pem:
            return
        current = self._config_maps.get(f"{key}/{NAME}")
        wanted = plan(self._namespaces.get(key), current, self._ca_pem)
        if wanted is None:
            return
        try:
            if current is None:
                await self.client.create(core("configmaps"), wanted, namespace=key)
            else:
                await self.client.update(core("configmaps"), wanted)
        except errors.NotFound:
            self.queue.add(key)
        except errors.StatusError as error:
            if not is_namespace_terminating(error):
                raise
