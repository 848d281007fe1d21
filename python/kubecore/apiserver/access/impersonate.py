"""Acting as somebody else: the Impersonate-* headers, each authorised on its own with the verb `impersonate`.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from kubecore.api.errors import InternalError
from kubecore.apiserver.access.authenticate import ANONYMOUS, AUTHENTICATED
from kubecore.apiserver.access.authorize import Attributes, AuthorizerChain
from kubecore.apiserver.access.tokens import service_account_groups
from kubecore.apiserver.registry.admission import User

_USER, _GROUP, _UID, _EXTRA = "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-"
_UNAUTHENTICATED = "system:unauthenticated"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_IDENTITY_GROUP = "authentication.k8s.io"


def wants_impersonation(headers: Iterable[tuple[str, str]]) -> bool:
    """headers: lower-case names."""
    return any(name.startswith("impersonate-") for name, _ in headers)


def impersonate(user: User, headers: Iterable[tuple[str, str]], authorizer: AuthorizerChain) -> User:
    """Whom the request acts as: `user` itself without such headers. Raises Forbidden, InternalError on headers that
    name no user."""
    name, uid = "", ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for header, value in headers:
        if header == _USER:
            name = value
        elif header == _UID:
            uid = value
        elif header == _GROUP:
            groups.append(value)
        elif header.startswith(_EXTRA):
            extra.setdefault(unquote(header.removeprefix(_EXTRA)).lower(), []).append(value)
    if not name:
        if uid or groups or extra:
            raise InternalError(f"requested {_asked(uid, groups, extra)} without impersonating a user")
        return user
    for attributes in _questions(user, name, uid, groups, extra):
        authorizer.check(attributes)
    return User(name, uid, _groups(name, groups), {key: tuple(values) for key, values in extra.items()})


def _asked(uid: str, groups: list[str], extra: dict[str, list[str]]) -> list[str]:
    return [*groups, *(value for values in extra.values() for value in values), *([uid] if uid else [])]


def _questions(user: User, name: str, uid: str, groups: list[str], extra: dict[str, list[str]]) -> Iterator[Attributes]:
    namespace, account = _service_account(name)
    if account:
        yield Attributes(user, "impersonate", "", "v1", "serviceaccounts", namespace=namespace, name=account)
    else:
        yield Attributes(user, "impersonate", "", "v1", "users", name=name)
    for group in groups:
        yield Attributes(user, "impersonate", "", "v1", "groups", name=group)
    for key, values in extra.items():
        for value in values:
            yield Attributes(user, "impersonate", _IDENTITY_GROUP, "v1", "userextras", key, name=value)
    if uid:
        yield Attributes(user, "impersonate", _IDENTITY_GROUP, "v1", "uids", name=uid)


def _service_account(name: str) -> tuple[str, str]:
    """(namespace, name) if that is what the user name says, else two empty strings."""
    if not name.startswith(_SERVICE_ACCOUNT):
        return "", ""
    namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return (namespace, account) if namespace and account and ":" not in account else ("", "")


def _groups(name: str, asked: list[str]) -> tuple[str, ...]:
    namespace, account = _service_account(name)
    groups = tuple(asked)
    if account and not groups:
        groups = service_account_groups(namespace)
    if AUTHENTICATED in groups or _UNAUTHENTICATED in groups:
        return groups
    return (*groups, _UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED)
