"""ClusterRole aggregation: a role with an aggregation rule shows the rules of the roles that it gathers.

In: cluster roles. Out: `rules` of those with an `aggregationRule`: what the selected roles allow, in the order of their
names, each rule once.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubecore.api import labels
from kubecore.api.meta import Object, key_of, labels_of, name_of
from kubecore.api.scheme import resource
from kubecore.controllers.base import Context, Controller

RBAC = ("rbac.authorization.k8s.io", "v1")


def plan(role: Object | None, others: Iterable[Object]) -> Object | None:
    """The role to write, or None if it is right."""
    selectors = ((role or {}).get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    if role is None or not selectors:
        return None
    rules: list[Object] = []
    for other in sorted(others, key=name_of):
        if name_of(other) == name_of(role):
            continue
        if any(labels.matches(selector, labels_of(other)) for selector in selectors):
            rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return None if rules == (role.get("rules") or []) else {**role, "rules": rules}


class ClusterRoleAggregation(Controller):
    name = "clusterrole-aggregation-controller"
    identity = "clusterrole-aggregation-controller"
    component = "clusterrole-aggregation-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._roles = self.informer(resource(*RBAC, "clusterroles"))
        self._roles.add_handler(self._role_changed)

    def _role_changed(self, _old: Object | None, _new: Object | None) -> None:
        """Any role may be one that another gathers."""
        for role in self._roles.list():
            if role.get("aggregationRule"):
                self.queue.add(key_of(role))

    async def reconcile(self, key: str) -> None:
        wanted = plan(self._roles.get(key), self._roles.list())
        if wanted is not None:
            await self.client.update(resource(*RBAC, "clusterroles"), wanted)
