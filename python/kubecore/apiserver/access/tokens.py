"""Service account tokens: signed JWTs, what they claim, and whether they still hold.

`ServiceAccountTokens` signs (the registry's TokenRequest, the token controller's secrets) and verifies (the
authenticator, TokenReview) with one key. A signature is checked once and remembered; what the token is bound to
(service account, pod, secret, node) is looked up each time somebody asks. Source:
https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from kubecore.api.meta import Object, name_of, namespace_of, parse_timestamp, uid_of
from kubecore.api.scheme import core
from kubecore.apiserver.access.signing import load_key, sign_es256
from kubecore.apiserver.registry.admission import StorageReader, User

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
LEGACY_ISSUER = "kubernetes/serviceaccount"
WARN_ONLY_SECONDS = 3607
"""What the kubelet's projected tokens ask for. Old clients never reload them, so they get a year and a note of when
they should have."""
EXTENDED_SECONDS = 365 * 24 * 3600
DELETION_LEEWAY_SECONDS = 60
"""A bound object that is being deleted keeps its tokens this long: a pod still runs while it ends."""
CLAIMS_REMEMBERED = 10_000

_LEGACY = "kubernetes.io/serviceaccount/"
_EXTRA = "authentication.kubernetes.io/"
_BOUND = {"Pod": "pod", "Secret": "secret", "Node": "node"}

Claims = dict[str, Any]


class InvalidToken(Exception):
    """The token is ours in form, and does not hold. str() is why; clients only learn that it is so."""


def service_account_user(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


class ServiceAccountTokens:
    """One issuer with one key."""

    def __init__(
        self,
        key_pem: Callable[[], bytes],
        storage: StorageReader,
        *,
        now: Callable[[], float],
        randomness: random.Random,
        issuer: str = DEFAULT_ISSUER,
        api_audiences: Sequence[str] = (),
    ) -> None:
        """key_pem: gives the private key when it is first needed. api_audiences: whom tokens must be for; the issuer if
        empty."""
        self.issuer = issuer
        self.api_audiences = tuple(api_audiences) or (issuer,)
        self._key_pem = key_pem
        self._storage = storage
        self._now = now
        self._randomness = randomness
        self._loaded: tuple[Any, Any, str] | None = None
        self._claims: OrderedDict[str, Claims] = OrderedDict()

    # ── signing ──

    def issue(
        self,
        *,
        service_account: Object,
        audiences: list[str],
        expiration_seconds: int,
        bound_object: dict[str, Any] | None,
        now_seconds: float,
    ) -> tuple[str, float]:
        """The registry's `TokenIssuer`."""
        audiences = audiences or list(self.api_audiences)
        issued, namespace = int(now_seconds), namespace_of(service_account)
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name_of(service_account), "uid": uid_of(service_account)},
        }
        if bound_object is not None:
            kind = bound_object["kind"]
            private[_BOUND[kind]] = {"name": bound_object["name"], "uid": bound_object["uid"]}
            if kind == "Pod" and (node := self._node_of(namespace, bound_object["name"])) is not None:
                private["node"] = node
        lifetime = expiration_seconds
        if lifetime == WARN_ONLY_SECONDS and "pod" in private and set(audiences) <= set(self.api_audiences):
            private["warnafter"] = issued + lifetime
            lifetime = EXTENDED_SECONDS
        claims = {
            "aud": audiences,
            "exp": issued + lifetime,
            "iat": issued,
            "iss": self.issuer,
            "jti": str(uuid.UUID(int=self._randomness.getrandbits(128), version=4)),
            "kubernetes.io": private,
            "nbf": issued,
            "sub": service_account_user(namespace, name_of(service_account)),
        }
        return self._sign(claims), float(issued + expiration_seconds)

    def issue_legacy(self, *, service_account: Object, secret_name: str) -> str:
        """A token without end for a secret of type `kubernetes.io/service-account-token`."""
        namespace, name = namespace_of(service_account), name_of(service_account)
        return self._sign(
            {
                "iss": LEGACY_ISSUER,
                f"{_LEGACY}namespace": namespace,
                f"{_LEGACY}secret.name": secret_name,
                f"{_LEGACY}service-account.name": name,
                f"{_LEGACY}service-account.uid": uid_of(service_account),
                "sub": service_account_user(namespace, name),
            }
        )

    def _node_of(self, namespace: str, pod_name: str) -> dict[str, str] | None:
        pod = self._storage.get(core("pods"), namespace, pod_name)
        node_name = (pod or {}).get("spec", {}).get("nodeName")
        if not node_name:
            return None
        node = self._storage.get(core("nodes"), "", node_name)
        return {"name": node_name, "uid": uid_of(node)} if node is not None else {"name": node_name}

    def _sign(self, claims: Claims) -> str:
        key, _, key_id = self._keys()
        parts = ({"alg": "ES256", "kid": key_id}, claims)
        content = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        return f"{content}.{_base64url(sign_es256(key, content.encode()))}"

    def _keys(self) -> tuple[Any, Any, str]:
        """(private key, public key, key id)."""
        if self._loaded is None:
            from cryptography.hazmat.primitives import serialization

            private = load_key(self._key_pem())
            public = private.public_key()
            der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            self._loaded = (private, public, _base64url(hashlib.sha256(der).digest()))
        return self._loaded

    # ── verifying ──

    def recognises(self, token: str) -> bool:
        """Whether it looks like a JWT; anything else is some other authenticator's business."""
        return token.count(".") == 2

    def verify(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]]:
        """(who, for which of the wanted audiences: the server's own if none are named). Raises InvalidToken."""
        claims = self._verified_claims(token)
        if claims.get("iss") == LEGACY_ISSUER:
            return self._legacy_user(token, claims), tuple(audiences or self.api_audiences)
        now = self._now()
        if now >= claims["exp"]:
            raise InvalidToken("service account token has expired")
        if now < claims.get("nbf", 0):
            raise InvalidToken("service account token is not valid yet")
        wanted = tuple(audiences) or self.api_audiences
        held = tuple(audience for audience in wanted if audience in claims["aud"])
        if not held:
            raise InvalidToken(f"token audiences {claims['aud']} is invalid for the target audiences {list(wanted)}")
        return self._bound_user(claims, now), held

    def _verified_claims(self, token: str) -> Claims:
        found = self._claims.get(token)
        if found is not None:
            self._claims.move_to_end(token)
            return found
        claims = self._decode(token)
        if len(self._claims) >= CLAIMS_REMEMBERED:
            self._claims.popitem(last=False)
        self._claims[token] = claims
        return claims

    def _decode(self, token: str) -> Claims:
        import jwt

        unchecked = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
        try:
            claims: Claims = jwt.decode(token, self._keys()[1], algorithms=["ES256"], options=unchecked)  # type: ignore[arg-type]
        except jwt.PyJWTError as error:
            raise InvalidToken(str(error)) from error
        if claims.get("iss") not in (self.issuer, LEGACY_ISSUER):
            raise InvalidToken(f"token is from issuer {claims.get('iss')!r}")
        if claims["iss"] == self.issuer:
            audiences = claims.get("aud")
            claims["aud"] = [audiences] if isinstance(audiences, str) else list(audiences or ())
            if not isinstance(claims.get("exp"), int) or "serviceaccount" not in claims.get("kubernetes.io", {}):
                raise InvalidToken("token lacks the claims of a service account")
        return claims

    def _bound_user(self, claims: Claims, now: float) -> User:
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        if claims.get("sub") != service_account_user(namespace, account["name"]):
            raise InvalidToken("token's subject is not its service account")
        self._must_live("serviceaccounts", namespace, account, now)
        extra: dict[str, tuple[str, ...]] = {f"{_EXTRA}credential-id": (f"JTI={claims['jti']}",)}
        if (secret := private.get("secret")) is not None:
            self._must_live("secrets", namespace, secret, now)
        pod, node = private.get("pod"), private.get("node")
        if pod is not None:
            self._must_live("pods", namespace, pod, now)
            extra |= {f"{_EXTRA}pod-name": (pod["name"],), f"{_EXTRA}pod-uid": (pod["uid"],)}
        elif node is not None:
            self._must_live("nodes", "", node, now)
        if node is not None:
            extra[f"{_EXTRA}node-name"] = (node["name"],)
            if node.get("uid"):
                extra[f"{_EXTRA}node-uid"] = (node["uid"],)
        return _user(namespace, account["name"], account["uid"], extra)

    def _must_live(self, plural: str, namespace: str, reference: dict[str, str], now: float) -> None:
        found = self._storage.get(core(plural), namespace, reference["name"])
        if found is None:
            raise InvalidToken(f"{plural} {namespace}/{reference['name']} is gone")
        if uid_of(found) != reference["uid"]:
            raise InvalidToken(f"{plural} {namespace}/{reference['name']} is another one now")
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted and parse_timestamp(deleted) + DELETION_LEEWAY_SECONDS < now:
            raise InvalidToken(f"{plural} {namespace}/{reference['name']} has been deleted")

    def _legacy_user(self, token: str, claims: Claims) -> User:
        namespace, name = claims.get(f"{_LEGACY}namespace", ""), claims.get(f"{_LEGACY}service-account.name", "")
        secret_name, uid = claims.get(f"{_LEGACY}secret.name", ""), claims.get(f"{_LEGACY}service-account.uid", "")
        if not (namespace and name and uid) or claims.get("sub") != service_account_user(namespace, name):
            raise InvalidToken("legacy token lacks its claims")
        secret = self._storage.get(core("secrets"), namespace, secret_name)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            raise InvalidToken("the token's secret is gone")
        if base64.b64decode((secret.get("data") or {}).get("token", "")) != token.encode():
            raise InvalidToken("the secret holds another token")
        account = self._storage.get(core("serviceaccounts"), namespace, name)
        if account is None or account["metadata"].get("deletionTimestamp") or uid_of(account) != uid:
            raise InvalidToken("the token's service account is gone")
        return _user(namespace, name, uid, {})

    # ── discovery ──

    def openid_configuration(self, jwks_uri: str) -> dict[str, Any]:
        """`/.well-known/openid-configuration`: where relying parties learn how to check our tokens."""
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def jwks(self) -> dict[str, Any]:
        """`/openid/v1/jwks`: the public key."""
        _, public, key_id = self._keys()
        numbers = public.public_numbers()
        x, y = (_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        key = {"use": "sig", "kty": "EC", "kid": key_id, "crv": "P-256", "alg": "ES256", "x": x, "y": y}
        return {"keys": [key]}


def _user(namespace: str, name: str, uid: str, extra: dict[str, tuple[str, ...]]) -> User:
    return User(service_account_user(namespace, name), uid, service_account_groups(namespace), extra)


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
