"""ServiceAccount: every namespace has the account that pods get when they name none.

In: namespaces and service accounts. Out: a service account `default` in each namespace that is not being deleted.
"""

from __future__ import annotations

from kubecore.api import errors
from kubecore.api.meta import Object, namespace_of
from kubecore.api.scheme import core
from kubecore.controllers.base import Context, Controller
from kubecore.controllers.ownership import is_namespace_terminating

NAMES = ("default",)


def plan(namespace: Object | None, accounts: dict[str, Object | None]) -> list[Object]:
    """The accounts to create. accounts: by name, None if absent."""
    if namespace is None or namespace.get("status", {}).get("phase") == "Terminating":
        return []
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        for name, account in accounts.items()
        if account is None
    ]


class ServiceAccounts(Controller):
    name = "serviceaccount-controller"
    identity = "service-account-controller"
    component = "serviceaccount-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._namespaces = self.enqueue_changes_of(core("namespaces"))
        self._accounts = self.informer(core("serviceaccounts"))
        self._accounts.add_handler(self._account_changed)

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        """Only a deletion leaves something to do."""
        if new is None and old is not None:
            self.queue.add(namespace_of(old))

    async def reconcile(self, key: str) -> None:
        accounts = {name: self._accounts.get(f"{key}/{name}") for name in NAMES}
        for wanted in plan(self._namespaces.get(key), accounts):
            try:
                await self.client.create(core("serviceaccounts"), wanted, namespace=key)
            except errors.AlreadyExists:
                continue
            except errors.StatusError as error:
                if not is_namespace_terminating(error):
                    raise
