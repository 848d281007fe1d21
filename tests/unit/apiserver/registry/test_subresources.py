"""Subresources: binding, eviction, scale, tokens, ephemeral containers, resize, streams, reviews; escalation is asked about."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.registry import PODS, Api, pod

from kubecore.api.errors import Forbidden
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.admission import User

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
ROLE_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"


@pytest.fixture
def api() -> Api:
    return Api()


def bind(api: Api, name: str = "web", node: str = "one") -> Any:
    return api.post(f"{PODS}/{name}/binding", {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}})


def test_a_bound_pod_has_its_node_and_says_that_it_is_scheduled(api: Api) -> None:
    api.post(PODS, pod()).ok()
    answer = bind(api)
    assert (answer.status, answer.body["status"]) == (201, "Success")
    bound = api.get(f"{PODS}/web").ok()
    assert bound["spec"]["nodeName"] == "one"
    assert [(c["type"], c["status"]) for c in bound["status"]["conditions"]] == [("PodScheduled", "True")]


def test_a_pod_is_bound_once(api: Api) -> None:
    api.post(PODS, pod()).ok()
    bind(api).ok()
    refused = bind(api, node="two")
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.message == (
        'Operation cannot be fulfilled on pods/binding "web": pod web is already assigned to node "one"'
    )


def test_a_pod_that_is_being_deleted_is_not_bound(api: Api) -> None:
    api.post(PODS, {**pod(), "metadata": {"name": "web", "finalizers": ["example.com/x"]}}).ok()
    api.delete(f"{PODS}/web").ok()
    assert "is being deleted, cannot be assigned to a host" in bind(api).message


def test_the_older_form_of_binding_works_too(api: Api) -> None:
    api.post(PODS, pod()).ok()
    binding = {"metadata": {"name": "web"}, "target": {"name": "one"}}
    assert api.post("/api/v1/namespaces/default/bindings", binding).status == 201
    assert api.get(f"{PODS}/web").ok()["spec"]["nodeName"] == "one"


def test_a_binding_to_something_else_is_refused(api: Api) -> None:
    api.post(PODS, pod()).ok()
    refused = api.post(f"{PODS}/web/binding", {"target": {"kind": "Rack", "name": "one"}})
    assert refused.message == 'target.kind: Unsupported value: "Rack": supported values: "Node", "<empty>"'
    assert api.post(f"{PODS}/web/binding", {"metadata": {"name": "other"}, "target": {"name": "one"}}).status == 400


def running(api: Api, *, ready: bool = True) -> None:
    api.post(PODS, {**pod(), "metadata": {"name": "web", "labels": {"app": "web"}}}).ok()
    bind(api).ok()
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    api.patch(f"{PODS}/web/status", {"status": {"phase": "Running", "conditions": [condition]}}).ok()


def budget(api: Api, name: str = "guard", **status: Any) -> None:
    selector = {"matchLabels": {"app": "web"}}
    created = api.post(BUDGETS, {"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": selector}}).ok()
    created["status"] |= {"observedGeneration": 1, **status}
    api.put(f"{BUDGETS}/{name}/status", created).ok()


def evict(api: Api, **more: Any) -> Any:
    return api.post(f"{PODS}/web/eviction", {"metadata": {"name": "web"}, **more})


def test_an_eviction_deletes_the_pod_with_its_grace(api: Api) -> None:
    running(api)
    answer = evict(api, deleteOptions={"gracePeriodSeconds": 4})
    assert (answer.status, answer.body["status"]) == (201, "Success")
    assert api.get(f"{PODS}/web").ok()["metadata"]["deletionGracePeriodSeconds"] == 4


def test_an_eviction_that_a_budget_forbids_is_refused(api: Api) -> None:
    running(api)
    budget(api, disruptionsAllowed=0, currentHealthy=1, desiredHealthy=1)
    refused = evict(api)
    assert (refused.status, refused.reason) == (429, "TooManyRequests")
    assert refused.message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused.body["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget guard needs 1 healthy pods and has 1 currently",
        }
    ]
    assert "deletionTimestamp" not in api.get(f"{PODS}/web").ok()["metadata"]


def test_an_eviction_spends_what_the_budget_allows(api: Api) -> None:
    running(api)
    budget(api, disruptionsAllowed=1, currentHealthy=2, desiredHealthy=1)
    assert evict(api).status == 201
    status = api.get(f"{BUDGETS}/guard").ok()["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["web"]


def test_a_budget_that_nobody_has_counted_yet_refuses(api: Api) -> None:
    running(api)
    selector = {"matchLabels": {"app": "web"}}
    api.post(BUDGETS, {"metadata": {"name": "new"}, "spec": {"minAvailable": 1, "selector": selector}}).ok()
    refused = evict(api)
    assert refused.status == 429
    assert refused.body["details"]["retryAfterSeconds"] == 10


def test_two_budgets_for_one_pod_are_too_many(api: Api) -> None:
    running(api)
    budget(api, "one", disruptionsAllowed=1)
    budget(api, "two", disruptionsAllowed=1)
    refused = evict(api)
    assert refused.status == 500
    assert "more than one PodDisruptionBudget" in refused.message


def test_a_dry_eviction_changes_nothing(api: Api) -> None:
    running(api)
    budget(api, disruptionsAllowed=1, currentHealthy=2, desiredHealthy=1)
    revision = api.storage.revision()
    assert evict(api, deleteOptions={"dryRun": ["All"]}).status == 201
    assert api.storage.revision() == revision


def deployment(api: Api) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    api.post(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}).ok()


def test_scale_shows_and_sets_the_replicas(api: Api) -> None:
    deployment(api)
    scale = api.get(f"{DEPLOYMENTS}/web/scale").ok()
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert scale["status"] == {"replicas": 0, "selector": "a=b"}
    scale["spec"]["replicas"] = 5
    assert api.put(f"{DEPLOYMENTS}/web/scale", scale).ok()["spec"] == {"replicas": 5}
    stored = api.get(f"{DEPLOYMENTS}/web").ok()
    assert (stored["spec"]["replicas"], stored["metadata"]["generation"]) == (5, 2)


def test_a_scale_can_be_patched_to_zero(api: Api) -> None:
    deployment(api)
    api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 0}}).ok()
    assert api.get(f"{DEPLOYMENTS}/web").ok()["spec"]["replicas"] == 0


def test_a_scale_of_an_old_version_is_refused(api: Api) -> None:
    deployment(api)
    scale = api.get(f"{DEPLOYMENTS}/web/scale").ok()
    api.patch(f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"x": "y"}}}).ok()
    assert api.put(f"{DEPLOYMENTS}/web/scale", scale).reason == "Conflict"


def test_a_negative_scale_is_refused(api: Api) -> None:
    deployment(api)
    refused = api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}})
    assert (refused.status, refused.fields) == (422, ["spec.replicas"])
    assert refused.message.startswith('Scale.autoscaling "web" is invalid: ')


class Issuer:
    api_audiences = ("the-server",)

    def issue(
        self,
        *,
        service_account: Object,
        audiences: list[str],
        expiration_seconds: int,
        bound_object: dict[str, Any] | None,
        now_seconds: float,
    ) -> tuple[str, float]:
        bound = bound_object["name"] if bound_object else "-"
        return f"{service_account['metadata']['name']}/{','.join(audiences)}/{bound}", now_seconds + expiration_seconds


def test_a_token_is_signed_and_never_stored() -> None:
    api = Api(token_issuer=Issuer())
    api.post(ACCOUNTS, {"metadata": {"name": "robot"}}).ok()
    revision = api.storage.revision()
    request = {"spec": {"audiences": ["me"], "expirationSeconds": 600}}
    answered = api.post(f"{ACCOUNTS}/robot/token", request)
    assert (answered.status, answered.body["kind"]) == (201, "TokenRequest")
    assert answered.body["status"] == {"token": "robot/me/-", "expirationTimestamp": "2025-06-15T15:16:40Z"}
    assert api.storage.revision() == revision


def test_a_token_for_nobody_is_for_the_server() -> None:
    api = Api(token_issuer=Issuer())
    api.post(ACCOUNTS, {"metadata": {"name": "robot"}}).ok()
    answered = api.post(f"{ACCOUNTS}/robot/token", {"spec": {}}).ok()
    assert (answered["spec"]["audiences"], answered["spec"]["expirationSeconds"]) == (["the-server"], 3600)
    assert answered["status"]["token"] == "robot/the-server/-"


@pytest.mark.parametrize(
    ("spec", "status", "words"),
    [
        ({"expirationSeconds": 60}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**33}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": {"kind": "Service", "apiVersion": "v1", "name": "x"}}, 400, "cannot bind token to object"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "x"}}, 404, 'pods "x" not found'),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web"}}, 400, "different serviceaccount name"),
    ],
)
def test_a_token_request_that_breaks_a_rule_is_refused(spec: dict[str, Any], status: int, words: str) -> None:
    api = Api(token_issuer=Issuer())
    api.post(ACCOUNTS, {"metadata": {"name": "robot"}}).ok()
    api.post(PODS, pod()).ok()
    refused = api.post(f"{ACCOUNTS}/robot/token", {"spec": {"audiences": ["a"], **spec}})
    assert refused.status == status
    assert words in refused.message


def test_a_debug_container_is_added_and_stays(api: Api) -> None:
    created = api.post(PODS, pod()).ok()
    debug = {"name": "debug", "image": "busybox", "targetContainerName": "main"}
    created["spec"]["ephemeralContainers"] = [debug]
    created["spec"]["hostname"] = "ignored"
    added = api.put(f"{PODS}/web/ephemeralcontainers", created).ok()
    assert [container["name"] for container in added["spec"]["ephemeralContainers"]] == ["debug"]
    assert "hostname" not in added["spec"]
    added["spec"]["ephemeralContainers"] = []
    refused = api.put(f"{PODS}/web/ephemeralcontainers", added)
    assert (refused.status, refused.fields) == (422, ["spec.ephemeralContainers"])


def test_a_pod_is_resized_within_its_class(api: Api) -> None:
    resources = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    created = api.post(PODS, pod(containers=[{"name": "main", "image": "x", "resources": resources}])).ok()
    created["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1500m"
    created["spec"]["containers"][0]["image"] = "ignored"
    resized = api.put(f"{PODS}/web/resize", created).ok()["spec"]["containers"][0]
    assert (resized["resources"]["requests"]["cpu"], resized["image"]) == ("1500m", "x")
    created["metadata"].pop("resourceVersion")
    created["spec"]["containers"][0]["resources"] = {}
    assert api.put(f"{PODS}/web/resize", created).status == 422


def test_a_subresource_that_does_not_exist_is_not_found(api: Api) -> None:
    api.post(PODS, pod()).ok()
    assert api.get(f"{PODS}/web/nothing").status == 404


def test_a_review_is_answered_by_whom_it_was_given_to_and_never_stored() -> None:
    def answer(user: User, resource: Resource, namespace: str, obj: Object) -> Object:
        return {**obj, "status": {"allowed": user.name == "admin"}}

    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    api = Api(virtual={("authorization.k8s.io", "selfsubjectaccessreviews"): answer})
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
    answered = api.post(path, {"spec": spec})
    assert (answered.status, answered.body["status"]) == (201, {"allowed": True})
    assert api.storage.revision() == Api().storage.revision()
    assert Api().post(path, {"spec": spec}).status == 405


class NoEscalation:
    def check_aggregation(self, user: User, resource: Resource, name: str) -> None:
        raise Forbidden(f"{user.name} may not gather")

    def check_rules(self, user: User, resource: Resource, namespace: str, name: str, rules: list[Any]) -> None:
        if any("*" in rule["verbs"] for rule in rules):
            raise Forbidden(f"{user.name} may not grant that")

    def check_binding(self, user: User, resource: Resource, namespace: str, name: str, role_ref: Any) -> None:
        if role_ref["name"] == "mighty":
            raise Forbidden(f"{user.name} may not bind that")


def test_nobody_grants_what_they_do_not_have() -> None:
    api = Api(escalation=NoEscalation())
    rule = {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}
    assert api.post(ROLES, {"metadata": {"name": "r"}, "rules": [rule]}).reason == "Forbidden"
    assert api.post(ROLES, {"metadata": {"name": "r"}, "rules": [{**rule, "verbs": ["get"]}]}).status == 201
    gathering = {"metadata": {"name": "g"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    assert api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", gathering).reason == "Forbidden"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "mighty"}
    assert api.post(ROLE_BINDINGS, {"metadata": {"name": "b"}, "roleRef": reference}).reason == "Forbidden"
    small = {**reference, "name": "r"}
    assert api.post(ROLE_BINDINGS, {"metadata": {"name": "b"}, "roleRef": small}).status == 201


def test_the_storage_is_the_component_whose_status_is_known(api: Api) -> None:
    listed = api.get("/api/v1/componentstatuses")
    assert [item["metadata"]["name"] for item in listed.ok()["items"]] == ["etcd-0"]
    assert listed.warnings == ["v1 ComponentStatus is deprecated in v1.19+"]
    assert api.post("/api/v1/componentstatuses", {"metadata": {"name": "x"}}).status == 405
