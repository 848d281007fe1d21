"""Who is asking? Client certificate, bearer token, in-process identity, or nobody in particular.

In: the credential that the wire took from the connection or the header. Out: an `Identity`: the user and for how long
that holds. A token that nothing recognises is 401, never anonymous. Impersonation comes after: `impersonate.py`.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from kubecore.api.errors import Unauthorized
from kubecore.api.meta import uid_of
from kubecore.api.scheme import core
from kubecore.apiserver.access.tokens import InvalidToken, ServiceAccountTokens, service_account_groups
from kubecore.apiserver.registry.admission import StorageReader, User

CredentialKind = Literal["certificate", "token", "local", "none"]

AUTHENTICATED = "system:authenticated"
ANONYMOUS = User("system:anonymous", "", ("system:unauthenticated",))
TOKEN_HOLDS_SECONDS = 10.0
"""How long an answer about a service account token may be reused: what it is bound to may go at any time."""
CERTIFICATES_REMEMBERED = 10_000
TOKENS_REMEMBERED = 10_000

LOCAL_MASTERS = frozenset({"kubernetes-admin", "system:apiserver"})
"""In-process identities that pass every check: the embedding program's own client, and the server's own upkeep."""
_SERVICE_ACCOUNT = "system:serviceaccount:"
_NODE = "system:node:"


class Identity(NamedTuple):
    """ttl_seconds: how long it may be reused; 0 means until policy changes."""

    user: User
    ttl_seconds: float


class _Certificate(NamedTuple):
    user: User | None
    not_after: float


class _Verified(NamedTuple):
    user: User
    until: float
    epoch: int


def with_authenticated(user: User) -> User:
    """The user with `system:authenticated` among the groups."""
    if AUTHENTICATED in user.groups:
        return user
    return User(user.name, user.uid, (*user.groups, AUTHENTICATED), user.extra)


class Authenticator:
    """Upstream's chain in upstream's order: certificate, static token, service account token, anonymous."""

    def __init__(
        self,
        tokens: ServiceAccountTokens,
        storage: StorageReader,
        *,
        now: Callable[[], float],
        epoch: Callable[[], int] = lambda: 0,
        static_tokens: Mapping[str, User] | None = None,
        anonymous: bool = True,
    ) -> None:
        """epoch: the store's policy epoch, which moves when a service account changes."""
        self._tokens = tokens
        self._storage = storage
        self._now = now
        self._epoch = epoch
        self._static = {token: with_authenticated(user) for token, user in (static_tokens or {}).items()}
        self._anonymous = anonymous
        self._certificates: dict[bytes, _Certificate] = {}
        self._verified: dict[str, _Verified] = {}
        self._local: dict[str, tuple[int, User]] = {}

    def authenticate(self, kind: CredentialKind, credential: bytes) -> Identity:
        """Raises Unauthorized."""
        if kind == "certificate":
            return self._certificate(credential)
        if kind == "token":
            return self._token(credential)
        if kind == "local":
            return Identity(self.local_user(credential.decode()), 0.0)
        return self._nobody()

    def authenticate_token(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]]:
        """For TokenReview: (user, audiences that the token is for). Never from the cache. Raises InvalidToken."""
        if (user := self._static.get(token)) is not None:
            return user, tuple(audiences) or self._tokens.api_audiences
        if not self._tokens.recognises(token):
            raise InvalidToken("unknown token")
        user, held = self._tokens.verify(token, audiences)
        return with_authenticated(user), held

    def local_user(self, name: str) -> User:
        """The user behind an in-process identity: its name, with the groups that such a name always has."""
        epoch = self._epoch()
        known = self._local.get(name)
        if known is not None and known[0] == epoch:
            return known[1]
        uid = ""
        groups: tuple[str, ...] = (AUTHENTICATED,)
        if name.startswith(_SERVICE_ACCOUNT):
            namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
            groups = (*service_account_groups(namespace), AUTHENTICATED)
            stored = self._storage.get(core("serviceaccounts"), namespace, account)
            uid = uid_of(stored) if stored is not None else ""
        elif name.startswith(_NODE):
            groups = ("system:nodes", AUTHENTICATED)
        elif name in LOCAL_MASTERS:
            groups = ("system:masters", AUTHENTICATED)
        user = ANONYMOUS if name == ANONYMOUS.name else User(name, uid, groups)
        if len(self._local) >= TOKENS_REMEMBERED:
            self._local.clear()
        self._local[name] = (epoch, user)
        return user

    def _nobody(self) -> Identity:
        if not self._anonymous:
            raise Unauthorized("Unauthorized")
        return Identity(ANONYMOUS, 0.0)

    def _certificate(self, der: bytes) -> Identity:
        known = self._certificates.get(der)
        if known is None:
            if len(self._certificates) >= CERTIFICATES_REMEMBERED:
                self._certificates.clear()
            known = self._certificates[der] = _read_certificate(der)
        if known.user is None:
            return self._nobody()
        left = known.not_after - self._now()
        if left <= 0:
            raise Unauthorized("Unauthorized")
        return Identity(known.user, left)

    def _token(self, credential: bytes) -> Identity:
        try:
            token = credential.decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise Unauthorized("Unauthorized") from error
        if not token:
            return self._nobody()
        if (static := self._static.get(token)) is not None:
            return Identity(static, 0.0)
        now, epoch = self._now(), self._epoch()
        known = self._verified.get(token)
        if known is not None and known.epoch == epoch and now < known.until:
            return Identity(known.user, known.until - now)
        self._verified.pop(token, None)
        if not self._tokens.recognises(token):
            raise Unauthorized("Unauthorized")
        try:
            user, _ = self._tokens.verify(token)
        except InvalidToken as error:
            raise Unauthorized("Unauthorized") from error
        if len(self._verified) >= TOKENS_REMEMBERED:
            self._verified.clear()
        verified = self._verified[token] = _Verified(with_authenticated(user), now + TOKEN_HOLDS_SECONDS, epoch)
        return Identity(verified.user, TOKEN_HOLDS_SECONDS)


def _read_certificate(der: bytes) -> _Certificate:
    """Common name → user, organizations → groups. The wire has checked the chain; a certificate without a name is
    nobody's."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    not_after = certificate.not_valid_after_utc.timestamp()
    if not names or not names[-1].value:
        return _Certificate(None, not_after)
    groups = (str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    fingerprint = hashlib.sha256(der).hexdigest()
    extra: dict[str, tuple[str, ...]] = {"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)}
    return _Certificate(with_authenticated(User(str(names[-1].value), "", tuple(groups), extra)), not_after)
