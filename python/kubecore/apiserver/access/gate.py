"""The access room put together: one call builds everything that the wire and the registry ask of it.

gate = build_gate(storage, certificates, options, now=clock.now, randomness=random)
wire:      gate.identify(kind, credential, headers) → Identity;  gate.authorizer.check(Attributes(...)) → Verdict
registry:  admission=gate.admission, tokens=gate.tokens, escalation=gate.escalation, virtual=gate.reviews
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kubecore.apiserver.access import bootstrap
from kubecore.apiserver.access.admission.chain import PluginOptions, build_chain
from kubecore.apiserver.access.admission.default_toleration_seconds import TOLERATION_SECONDS
from kubecore.apiserver.access.authenticate import Authenticator, CredentialKind, Identity
from kubecore.apiserver.access.authorize import AuthorizerChain, RbacAuthorizer, build_authorizer
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.access.escalate import EscalationCheck
from kubecore.apiserver.access.impersonate import impersonate, wants_impersonation
from kubecore.apiserver.access.reviews import review_table
from kubecore.apiserver.access.stored import StoredPolicy
from kubecore.apiserver.access.tokens import DEFAULT_ISSUER, ServiceAccountTokens
from kubecore.apiserver.registry.admission import AdmissionChain, User
from kubecore.apiserver.registry.environment import Reader
from kubecore.apiserver.registry.hooks import VirtualHandler
from kubecore.apiserver.storage.protocol import Storage


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Upstream's flags: --authorization-mode, --anonymous-auth, --token-auth-file (loaded), --service-account-issuer,
    --api-audiences, --enable-admission-plugins, --disable-admission-plugins, --default-not-ready-toleration-seconds,
    --default-unreachable-toleration-seconds."""

    authorization_modes: Sequence[str] = ("Node", "RBAC")
    anonymous: bool = True
    static_tokens: Mapping[str, User] = field(default_factory=dict)
    issuer: str = DEFAULT_ISSUER
    api_audiences: Sequence[str] = ()
    enable_plugins: Sequence[str] = ()
    disable_plugins: Sequence[str] = ()
    not_ready_toleration_seconds: int = TOLERATION_SECONDS
    unreachable_toleration_seconds: int = TOLERATION_SECONDS


@dataclass(frozen=True, slots=True)
class Gate:
    """Everything that access lends its neighbours."""

    authenticator: Authenticator
    authorizer: AuthorizerChain
    tokens: ServiceAccountTokens
    escalation: EscalationCheck
    reviews: dict[tuple[str, str], VirtualHandler]
    admission: AdmissionChain

    def identify(self, kind: CredentialKind, credential: bytes, headers: Sequence[tuple[str, str]] = ()) -> Identity:
        """Who the request acts as, impersonation included. Raises Unauthorized, Forbidden, InternalError."""
        identity = self.authenticator.authenticate(kind, credential)
        if not wants_impersonation(headers):
            return identity
        return Identity(impersonate(identity.user, headers, self.authorizer), identity.ttl_seconds)


def build_gate(
    storage: Storage,
    certificates: Certificates,
    options: AccessOptions,
    *,
    now: Callable[[], float],
    randomness: random.Random,
) -> Gate:
    """Writes the default roles and bindings that are missing, then builds the parts. Raises ValueError on a bad option."""
    bootstrap.ensure(storage, now=now(), randomness=randomness)
    reader, rbac = Reader(storage), RbacAuthorizer(StoredPolicy(storage))
    tokens = ServiceAccountTokens(
        lambda: certificates.service_account_key_pem,
        reader,
        now=now,
        randomness=randomness,
        issuer=options.issuer,
        api_audiences=options.api_audiences,
    )
    authenticator = Authenticator(
        tokens,
        reader,
        now=now,
        epoch=storage.policy_epoch,
        static_tokens=options.static_tokens,
        anonymous=options.anonymous,
    )
    authorizer = build_authorizer(options.authorization_modes, rbac)
    return Gate(
        authenticator=authenticator,
        authorizer=authorizer,
        tokens=tokens,
        escalation=EscalationCheck(authorizer, rbac),
        reviews=review_table(authenticator, authorizer),
        admission=build_chain(
            options.enable_plugins,
            options.disable_plugins,
            PluginOptions(randomness, options.not_ready_toleration_seconds, options.unreachable_toleration_seconds),
        ),
    )
