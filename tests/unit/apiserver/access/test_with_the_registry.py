"""Access and the registry together: what a plugin decides is what the store has afterwards."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.support.registry import PODS, Api, pod

from kubecore.api.errors import Unauthorized
from kubecore.apiserver.access.admission.chain import PluginOptions, build_chain
from kubecore.apiserver.access.admission.limit_ranger import LimitRanger
from kubecore.apiserver.access.admission.resource_quota import ResourceQuota
from kubecore.apiserver.access.authenticate import TOKEN_HOLDS_SECONDS, Authenticator
from kubecore.apiserver.access.authorize import RbacAuthorizer, build_authorizer
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.access.escalate import EscalationCheck
from kubecore.apiserver.access.stored import StoredPolicy
from kubecore.apiserver.access.tokens import ServiceAccountTokens
from kubecore.apiserver.registry.admission import User

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def with_quota(hard: dict[str, str]) -> Api:
    """A default namespace whose quota the controller has counted once."""
    api = Api(ResourceQuota())
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}).ok()
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
    api.post(QUOTAS, quota).ok()
    status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    api.patch(f"{QUOTAS}/q/status", {"status": status}).ok()
    return api


def used(api: Api) -> Any:
    return api.get(f"{QUOTAS}/q").ok()["status"]["used"]


def test_of_ten_pods_a_quota_of_three_takes_three() -> None:
    api = with_quota({"pods": "3"})
    answers = [api.post(PODS, pod(f"p{index}")).status for index in range(10)]
    assert answers == [201] * 3 + [403] * 7
    assert used(api) == {"pods": "3"}


def test_a_pod_and_its_charge_are_one_revision() -> None:
    api = with_quota({"pods": "3"})
    created = api.post(PODS, pod()).ok()
    quota = api.get(f"{QUOTAS}/q").ok()
    assert quota["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_what_was_not_created_is_not_charged() -> None:
    api = with_quota({"pods": "3"})
    api.post(PODS, pod()).ok()
    assert api.post(PODS, pod()).reason == "AlreadyExists"
    api.post(PODS, pod("dry"), query={"dryRun": "All"}).ok()
    assert api.post(PODS, pod("bad", restartPolicy="Sometimes")).reason == "Invalid"
    assert used(api) == {"pods": "1"}


def sized(cpu: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "main:1", "resources": {"requests": {"cpu": cpu}}}]}


def test_a_resize_is_charged_and_held_to_the_quota() -> None:
    api = with_quota({"requests.cpu": "2"})
    api.post(PODS, pod("web", **sized("1"))).ok()
    api.patch(f"{PODS}/web/resize", {"spec": sized("2")}, kind="strategic").ok()
    assert used(api) == {"requests.cpu": "2"}
    refused = api.patch(f"{PODS}/web/resize", {"spec": sized("3")}, kind="strategic")
    assert refused.status == 403
    assert (
        "exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=2, limited: requests.cpu=2" in refused.message
    )


def test_a_resize_is_held_to_the_namespaces_limits() -> None:
    api = Api(LimitRanger())
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}).ok()
    limits = {"limits": [{"type": "Container", "max": {"cpu": "2"}, "default": {"cpu": "2"}}]}
    limit_range = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": limits}
    api.post("/api/v1/namespaces/default/limitranges", limit_range).ok()
    api.post(PODS, pod("web", **sized("1"))).ok()
    spec = {"containers": [{"name": "main", "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "3"}}}]}
    refused = api.patch(f"{PODS}/web/resize", {"spec": spec}, kind="strategic")
    assert (refused.status, refused.message) == (
        403,
        'pods "web" is forbidden: maximum cpu usage per Container is 2, but limit is 3',
    )


def secured() -> tuple[Api, Authenticator]:
    """An `Api` that asks access about tokens, reviews and escalation, and the authenticator beside it."""
    api = Api()
    environment = api.registry.environment
    index = RbacAuthorizer(StoredPolicy(api.storage))
    authorizer = build_authorizer(["RBAC"], index)
    key = Certificates().service_account_key_pem
    tokens = ServiceAccountTokens(lambda: key, environment.reader, now=api.clock.now, randomness=random.Random(1))
    environment.token_issuer = tokens
    environment.escalation = EscalationCheck(authorizer, index)
    environment.admission = build_chain([], [], PluginOptions(random.Random(1)))
    authenticator = Authenticator(tokens, environment.reader, now=api.clock.now, epoch=api.storage.policy_epoch)
    for kind, path, name in (("Namespace", "/api/v1/namespaces", "default"), ("ServiceAccount", ACCOUNTS, "robot")):
        api.post(path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}).ok()
    return api, authenticator


def request_token(api: Api, spec: dict[str, Any]) -> str:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}
    return str(api.post(f"{ACCOUNTS}/robot/token", request).ok()["status"]["token"])


def test_a_requested_token_is_its_service_account_until_that_goes() -> None:
    api, authenticator = secured()
    token = request_token(api, {"expirationSeconds": 600}).encode()
    assert authenticator.authenticate("token", token).user.name == "system:serviceaccount:default:robot"
    api.delete(f"{ACCOUNTS}/robot").ok()
    with pytest.raises(Unauthorized):
        authenticator.authenticate("token", token)


def test_a_token_bound_to_a_pod_goes_with_the_pod() -> None:
    api, authenticator = secured()
    made = api.post(PODS, pod(serviceAccountName="robot")).ok()
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": made["metadata"]["uid"]}
    token = request_token(api, {"boundObjectRef": reference}).encode()
    extra = authenticator.authenticate("token", token).user.extra
    assert extra["authentication.kubernetes.io/pod-uid"] == (made["metadata"]["uid"],)
    api.delete(f"{PODS}/web", {"gracePeriodSeconds": 0}).ok()
    api.clock.seconds += TOKEN_HOLDS_SECONDS
    with pytest.raises(Unauthorized):
        authenticator.authenticate("token", token)


def test_a_role_that_says_too_much_is_not_stored() -> None:
    api, _ = secured()
    rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"}}
    api.user = User("alice", groups=("system:authenticated",))
    refused = api.post(f"{RBAC}/clusterroles", role | {"rules": rules})
    assert refused.status == 403
    assert "is attempting to grant RBAC permissions not currently held" in refused.message
    gathering = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    assert "cluster-admin privileges" in api.post(f"{RBAC}/clusterroles", role | gathering).message
    assert api.get(f"{RBAC}/clusterroles/x").status == 404
    api.user = User("root", groups=("system:masters",))
    api.post(f"{RBAC}/clusterroles", role | {"rules": rules}).ok()


def test_a_label_that_makes_a_role_a_part_of_another_grants_its_rules() -> None:
    api, _ = secured()
    rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"}}
    api.post(f"{RBAC}/clusterroles", role | {"rules": rules}).ok()
    api.user = User("alice", groups=("system:authenticated",))
    label = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
    refused = api.patch(f"{RBAC}/clusterroles/x", label)
    assert refused.status == 403
    assert "is attempting to grant RBAC permissions not currently held" in refused.message
    api.patch(f"{RBAC}/clusterroles/x", {"metadata": {"finalizers": ["example.com/hold"]}}).ok()


def test_a_new_default_class_is_what_later_pods_get() -> None:
    api, _ = secured()
    api.post(PODS, pod("before", serviceAccountName="robot")).ok()
    usual = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "usual"}, "value": 7}
    api.post("/apis/scheduling.k8s.io/v1/priorityclasses", usual | {"globalDefault": True}).ok()
    after = api.post(PODS, pod("after", serviceAccountName="robot")).ok()
    assert (after["spec"]["priorityClassName"], after["spec"]["priority"]) == ("usual", 7)
    assert api.get(f"{PODS}/before").ok()["spec"]["priority"] == 0
