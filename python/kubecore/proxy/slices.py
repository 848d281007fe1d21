"""EndpointSlices by the service that they belong to.

In: changes of slices, as an informer tells them. Out: which services they touch; the slices of a service.
"""

from __future__ import annotations

from collections.abc import Collection

from kubecore.api.meta import Object, key_of
from kubecore.proxy.model import service_of


class SlicesByService:
    def __init__(self) -> None:
        self._slices: dict[str, dict[str, Object]] = {}

    def of(self, service: str) -> Collection[Object]:
        return self._slices.get(service, {}).values()

    def changed(self, old: Object | None, new: Object | None) -> list[str]:
        """The services that it touches: two, when a slice changes hands."""
        touched = []
        for each in (old, new):
            service = service_of(each) if each is not None else ""
            if each is None or not service:
                continue
            slices = self._slices.setdefault(service, {})
            if each is new:
                slices[key_of(each)] = each
            else:
                slices.pop(key_of(each), None)
            if not slices:
                del self._slices[service]
            touched.append(service)
        return touched
