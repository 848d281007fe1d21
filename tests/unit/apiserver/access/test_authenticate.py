from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubecore.api.errors import Unauthorized
from kubecore.api.meta import timestamp
from kubecore.apiserver.access import token_file
from kubecore.apiserver.access.authenticate import ANONYMOUS, Authenticator
from kubecore.apiserver.access.certificates import Certificates

from .worlds import NOW, World, make


class Setting:
    """A service account, a pod on a node, and an authenticator over them."""

    def __init__(self, **options: Any) -> None:
        self.account = make("ServiceAccount", "robot", "shop")
        self.world = World(
            self.account,
            make("Pod", "web", "shop", spec={"nodeName": "a"}),
            make("Node", "a"),
            make("Secret", "robot-token", "shop", data={}),
        )
        self.tokens = self.world.tokens()
        self.authenticator = Authenticator(
            self.tokens, self.world, now=lambda: self.world.now, epoch=self.world.epoch, **options
        )

    def issue(
        self, *, bound: tuple[str, str] | None = None, audiences: list[str] | None = None, seconds: int = 3600
    ) -> str:
        reference = (
            {"kind": bound[0], "apiVersion": "v1", "name": bound[1], "uid": f"uid-of-{bound[1]}"} if bound else None
        )
        token, _ = self.tokens.issue(
            service_account=self.account,
            audiences=audiences or [],
            expiration_seconds=seconds,
            bound_object=reference,
            now_seconds=self.world.now,
        )
        return token

    def ask(self, token: str) -> Any:
        return self.authenticator.authenticate("token", token.encode())


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))  # type: ignore[no-any-return]


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def test_a_certificate_is_its_common_name_and_organizations() -> None:
    setting = Setting()
    setting.world.now = time.time()
    der = der_of(Certificates().client("jane", ("devs", "ops")).certificate_pem)
    identity = setting.authenticator.authenticate("certificate", der)
    assert identity.user.name == "jane"
    assert identity.user.groups == ("devs", "ops", "system:authenticated")
    fingerprint = hashlib.sha256(der).hexdigest()
    assert identity.user.extra == {"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)}
    assert 0 < identity.ttl_seconds < 366 * 24 * 3600


def test_a_certificate_that_has_run_out_is_refused_on_an_open_connection() -> None:
    setting = Setting()
    der = der_of(Certificates().admin.certificate_pem)
    setting.world.now = time.time() + 366 * 24 * 3600
    with pytest.raises(Unauthorized):
        setting.authenticator.authenticate("certificate", der)


def test_a_service_account_token_says_who_and_in_which_groups() -> None:
    setting = Setting()
    identity = setting.ask(setting.issue())
    assert identity.user.name == "system:serviceaccount:shop:robot"
    assert identity.user.uid == "uid-of-robot"
    assert identity.user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    assert 0 < identity.ttl_seconds <= 10


def test_a_pods_token_claims_what_upstreams_does() -> None:
    setting = Setting()
    token = setting.issue(bound=("Pod", "web"), seconds=3607)
    claims = claims_of(token)
    issuer = "https://kubernetes.default.svc.cluster.local"
    assert claims["aud"] == [issuer]
    assert claims["iss"] == issuer
    assert claims["sub"] == "system:serviceaccount:shop:robot"
    assert claims["iat"] == claims["nbf"] == int(NOW)
    # The kubelet's 3607 seconds get a year, and a note of when the pod should have asked again.
    assert claims["exp"] == int(NOW) + 365 * 24 * 3600
    assert claims["kubernetes.io"] == {
        "namespace": "shop",
        "serviceaccount": {"name": "robot", "uid": "uid-of-robot"},
        "pod": {"name": "web", "uid": "uid-of-web"},
        "node": {"name": "a", "uid": "uid-of-a"},
        "warnafter": int(NOW) + 3607,
    }
    extra = setting.ask(token).user.extra
    assert extra["authentication.kubernetes.io/pod-name"] == ("web",)
    assert extra["authentication.kubernetes.io/node-uid"] == ("uid-of-a",)
    assert extra["authentication.kubernetes.io/credential-id"] == (f"JTI={claims['jti']}",)


def test_a_token_dies_with_its_pod_within_ten_seconds() -> None:
    setting = Setting()
    token = setting.issue(bound=("Pod", "web"))
    setting.ask(token)
    del setting.world.stored["pods.", "shop", "web"]
    setting.world.now += 10
    with pytest.raises(Unauthorized):
        setting.ask(token)


def test_a_token_dies_at_once_with_its_service_account() -> None:
    setting = Setting()
    token = setting.issue()
    setting.ask(token)
    setting.world.drop("serviceaccounts", "shop", "robot")
    with pytest.raises(Unauthorized):
        setting.ask(token)


def test_a_token_does_not_fit_a_new_account_of_the_same_name() -> None:
    setting = Setting()
    token = setting.issue()
    setting.world.put(make("ServiceAccount", "robot", "shop", metadata={"uid": "another"}))
    with pytest.raises(Unauthorized):
        setting.ask(token)


def test_a_pod_that_is_ending_keeps_its_token_for_a_minute() -> None:
    setting = Setting()
    token = setting.issue(bound=("Pod", "web"))
    setting.world.put(make("Pod", "web", "shop", metadata={"deletionTimestamp": timestamp(NOW)}, spec={}))
    setting.world.now = NOW + 59
    assert setting.ask(token).user.name == "system:serviceaccount:shop:robot"
    setting.world.now = NOW + 70
    with pytest.raises(Unauthorized):
        setting.ask(token)


def test_an_expired_token_is_refused() -> None:
    setting = Setting()
    token = setting.issue(seconds=600)
    setting.world.now += 600
    with pytest.raises(Unauthorized):
        setting.ask(token)


def test_a_token_for_somebody_else_is_refused() -> None:
    setting = Setting()
    with pytest.raises(Unauthorized):
        setting.ask(setting.issue(audiences=["vault"]))


def test_a_tampered_token_is_refused() -> None:
    setting = Setting()
    head, body, signature = setting.issue().split(".")
    other = (
        base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b"robot", b"admin"))
        .rstrip(b"=")
        .decode()
    )
    with pytest.raises(Unauthorized):
        setting.ask(f"{head}.{other}.{signature}")


def test_a_legacy_token_holds_while_its_secret_holds_it() -> None:
    setting = Setting()
    token = setting.tokens.issue_legacy(service_account=setting.account, secret_name="robot-token")
    with pytest.raises(Unauthorized):
        setting.ask(token)
    data = {"token": base64.b64encode(token.encode()).decode()}
    setting.world.put(make("Secret", "robot-token", "shop", data=data))
    assert setting.ask(token).user.name == "system:serviceaccount:shop:robot"
    setting.world.drop("secrets", "shop", "robot-token")
    with pytest.raises(Unauthorized):
        setting.ask(token)


def test_an_unknown_token_is_refused_and_not_anonymous() -> None:
    with pytest.raises(Unauthorized) as raised:
        Setting().ask("nonsense")
    assert raised.value.to_status()["message"] == "Unauthorized"
    assert raised.value.status_code == 401


def test_nobody_is_anonymous_unless_that_is_off() -> None:
    assert Setting().authenticator.authenticate("none", b"").user == ANONYMOUS
    with pytest.raises(Unauthorized):
        Setting(anonymous=False).authenticator.authenticate("none", b"")


def test_a_static_token_file_has_upstreams_columns() -> None:
    users = token_file.parse(['secret,jane,7,"devs,ops"\n', "other,joe,8\n"])
    setting = Setting(static_tokens=users)
    assert setting.ask("secret").user.groups == ("devs", "ops", "system:authenticated")
    assert setting.ask("other").user.uid == "8"
    with pytest.raises(ValueError, match="at least 3 columns"):
        token_file.parse(["secret,jane"])


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("system:kube-scheduler", ("system:authenticated",)),
        ("system:node:a", ("system:nodes", "system:authenticated")),
        ("kubernetes-admin", ("system:masters", "system:authenticated")),
        (
            "system:serviceaccount:kube-system:job-controller",
            ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"),
        ),
    ],
)
def test_an_identity_of_the_process_has_the_groups_of_its_name(name: str, groups: tuple[str, ...]) -> None:
    identity = Setting().authenticator.authenticate("local", name.encode())
    assert (identity.user.name, identity.user.groups) == (name, groups)


def test_relying_parties_can_check_a_token_with_the_published_key() -> None:
    import jwt

    setting = Setting()
    key = jwt.PyJWK(setting.tokens.jwks()["keys"][0])
    options: Any = {"verify_exp": False}
    issuer = "https://kubernetes.default.svc.cluster.local"
    token = setting.issue()
    assert jwt.decode(token, key, algorithms=["ES256"], audience=issuer, options=options)["iss"] == issuer
    assert jwt.get_unverified_header(token)["kid"] == setting.tokens.jwks()["keys"][0]["kid"]
    document = setting.tokens.openid_configuration("https://example/openid/v1/jwks")
    assert document["issuer"] == issuer
