"""How others learn to check this server's service account tokens: OIDC discovery and the public keys.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from __future__ import annotations

from typing import Any, Protocol

from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import Response, encode_json, of_json
from kubecore.apiserver.wire.routes import Handler

CONFIGURATION_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/openid/v1/jwks"


class Issuer(Protocol):
    """What signs the tokens."""

    @property
    def issuer(self) -> str: ...

    def openid_configuration(self, jwks_uri: str) -> dict[str, Any]: ...

    def jwks(self) -> dict[str, Any]: ...


def token_issuer_routes(tokens: Issuer) -> dict[str, Handler]:
    """For `APIServer(extra_routes=...)`."""

    def configuration(_call: Call) -> Response:
        return of_json(tokens.openid_configuration(tokens.issuer.rstrip("/") + JWKS_PATH))

    def keys(_call: Call) -> Response:
        return Response(200, encode_json(tokens.jwks()), "application/jwk-set+json")

    return {CONFIGURATION_PATH: configuration, JWKS_PATH: keys}
