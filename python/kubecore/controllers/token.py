"""Token: fills the secrets of type kubernetes.io/service-account-token, the older way to a service account's token.

In: such secrets, service accounts, and the option `sign_token` (service account, secret's name → token; absent where
the key is not). Out: `token`, `ca.crt` and `namespace` in the secret; a secret whose account is gone is deleted.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from kubecore.api import errors
from kubecore.api.meta import Object, namespace_of, uid_of
from kubecore.api.scheme import core
from kubecore.controllers.base import Context, Controller

TOKEN_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"

SignToken = Callable[[Object, str], str]


def account_of(secret: Object) -> str:
    """The name of the account that a token secret is for; empty for any other secret."""
    if secret.get("type") != TOKEN_TYPE:
        return ""
    return str((secret["metadata"].get("annotations") or {}).get(ACCOUNT_NAME, ""))


def is_orphaned(secret: Object, account: Object | None) -> bool:
    """Its account is gone, or another has the name by now."""
    if account is None:
        return True
    uid = (secret["metadata"].get("annotations") or {}).get(ACCOUNT_UID)
    return bool(uid) and uid != uid_of(account)


def plan(secret: Object, account: Object, *, ca_pem: str, sign: Callable[[], str]) -> Object | None:
    """The secret to write, or None if it lacks nothing. `sign` is called only for a secret without a token."""
    data = dict(secret.get("data") or {})
    wanted = {"ca.crt": ca_pem, "namespace": namespace_of(secret)}
    for name, text in wanted.items():
        if text:
            data[name] = base64.b64encode(text.encode()).decode()
    if not data.get("token"):
        data["token"] = base64.b64encode(sign().encode()).decode()
    annotations = {**(secret["metadata"].get("annotations") or {}), ACCOUNT_UID: uid_of(account)}
    if data == secret.get("data") and annotations == secret["metadata"].get("annotations"):
        return None
    return {**secret, "metadata": {**secret["metadata"], "annotations": annotations}, "data": data}


class Tokens(Controller):
    name = "serviceaccount-token-controller"
    identity = ""
    component = "serviceaccount-token-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sign: SignToken | None = context.options.get("sign_token")
        self._ca_pem: str = context.options.get("root_ca_pem", "")
        self._secrets = self.enqueue_changes_of(core("secrets"))
        self._secrets.add_index("account", _account_index)
        self._accounts = self.informer(core("serviceaccounts"))
        self._accounts.add_handler(self._account_changed)

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        changed = new if new is not None else old
        if changed is None or (old is not None and new is not None and uid_of(old) == uid_of(new)):
            return
        value = f"{namespace_of(changed)}/{changed['metadata']['name']}"
        for secret in self._secrets.by_index("account", value):
            self._enqueue(None, secret)

    async def reconcile(self, key: str) -> None:
        secret = self._secrets.get(key)
        if secret is None or not (name := account_of(secret)) or secret["metadata"].get("deletionTimestamp"):
            return
        namespace = namespace_of(secret)
        try:
            account = self._accounts.get(f"{namespace}/{name}")
            if is_orphaned(secret, account):
                # The cache may be behind: ask before deleting.
                account = await self._live_account(namespace, name)
            if account is None or is_orphaned(secret, account):
                metadata = secret["metadata"]
                await self.client.delete(core("secrets"), namespace, metadata["name"], uid=metadata["uid"])
                return
            if self._sign is None:
                return
            sign, found = self._sign, account
            wanted = plan(secret, found, ca_pem=self._ca_pem, sign=lambda: sign(found, secret["metadata"]["name"]))
            if wanted is not None:
                await self.client.update(core("secrets"), wanted)
        except errors.NotFound:
            return

    async def _live_account(self, namespace: str, name: str) -> Object | None:
        try:
            return await self.client.get(core("serviceaccounts"), namespace, name)
        except errors.NotFound:
            return None


def _account_index(secret: Object) -> list[str]:
    name = account_of(secret)
    return [f"{namespace_of(secret)}/{name}"] if name else []
