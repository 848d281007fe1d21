"""The Python clients that people use do their daily work over the kubeconfig, and an operator reacts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubectl import Kubectl
from tests.support.processes import Up

pytestmark = pytest.mark.timeout(120)

LABELS = {"app": "web"}
SELECTOR = "app=web"
WATCH_SECONDS = 20


def test_the_official_client(cluster: Up, namespace: str) -> None:
    from kubernetes import client, config, watch

    with config.new_client_from_config(config_file=str(cluster.kubeconfig)) as connection:
        core, apps = client.CoreV1Api(connection), client.AppsV1Api(connection)
        created = core.create_namespaced_config_map(namespace, official_config_map(client))
        assert created.metadata.uid
        listed = core.list_namespaced_config_map(namespace, label_selector=SELECTOR)
        assert [item.metadata.name for item in listed.items] == ["settings"]
        events = watch.Watch().stream(
            core.list_namespaced_config_map,
            namespace,
            label_selector=SELECTOR,
            resource_version=listed.metadata.resource_version,
            timeout_seconds=WATCH_SECONDS,
        )
        patched = core.patch_namespaced_config_map("settings", namespace, {"data": {"b": "2"}})
        assert patched.data == {"a": "1", "b": "2"}
        core.delete_namespaced_config_map("settings", namespace)
        seen = [next(events), next(events)]
        assert [(event["type"], event["object"].data) for event in seen] == [
            ("MODIFIED", {"a": "1", "b": "2"}),
            ("DELETED", {"a": "1", "b": "2"}),
        ]
        with pytest.raises(client.ApiException) as missing:
            core.read_namespaced_config_map("settings", namespace)
        assert missing.value.status == 404
        apps.create_namespaced_deployment(namespace, deployment())
        wait_until_available(
            lambda: watch.Watch().stream(apps.list_namespaced_deployment, namespace, timeout_seconds=WATCH_SECONDS),
            lambda event: event["object"].status.available_replicas,
        )
        scale = apps.read_namespaced_deployment_scale("web", namespace)
        assert scale.spec.replicas == 2
        apps.delete_namespaced_deployment("web", namespace, propagation_policy="Foreground")


def official_config_map(client: Any) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings", labels=LABELS), data={"a": "1"})


def deployment() -> dict[str, Any]:
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template},
    }


def wait_until_available(stream: Callable[[], Any], available: Callable[[Any], int | None]) -> None:
    assert any(available(event) == 2 for event in stream()), "the watch ended before two replicas were available"


def test_the_official_dynamic_client_applies(cluster: Up, namespace: str) -> None:
    """It finds resources through discovery."""
    from kubernetes import config, dynamic

    with config.new_client_from_config(config_file=str(cluster.kubeconfig)) as connection:
        maps = dynamic.DynamicClient(connection).resources.get(api_version="v1", kind="ConfigMap")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
        assert maps.create(body=body, namespace=namespace).data.a == "1"
        replaced = maps.replace(body=body | {"data": {"a": "2"}}, namespace=namespace)
        assert replaced.data.a == "2"
        assert [item.metadata.name for item in maps.get(namespace=namespace).items if item.metadata.name == "settings"]
        maps.delete(name="settings", namespace=namespace)


def test_kr8s(cluster: Up, namespace: str) -> None:
    import kr8s
    from kr8s.objects import ConfigMap, Pod

    api = kr8s.api(kubeconfig=str(cluster.kubeconfig))
    settings = ConfigMap(
        {"metadata": {"name": "settings", "namespace": namespace, "labels": LABELS}, "data": {"a": "1"}}, api=api
    )
    settings.create()
    settings.patch({"data": {"b": "2"}})
    assert settings.data == {"a": "1", "b": "2"}
    settings.label(tier="front")
    found = list(api.get("configmaps", namespace=namespace, label_selector=SELECTOR))
    assert [(item.name, item.labels["tier"]) for item in found] == [("settings", "front")]
    event_type, obj = next(iter(api.watch("configmaps", namespace=namespace, label_selector=SELECTOR)))
    assert (event_type, obj.name) == ("ADDED", "settings")
    settings.delete()
    assert not settings.exists()

    pod = Pod(
        {
            "metadata": {"name": "one", "namespace": namespace},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        },
        api=api,
    )
    pod.create()
    pod.wait("condition=Ready", timeout=WATCH_SECONDS)
    assert pod.ready()
    pod.delete()
    pod.wait("delete", timeout=WATCH_SECONDS)


def test_lightkube(cluster: Up, namespace: str) -> None:
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(config=KubeConfig.from_file(str(cluster.kubeconfig)).get(), namespace=namespace)
    settings = ConfigMap(metadata=ObjectMeta(name="settings", labels=LABELS), data={"a": "1"})
    created = client.create(settings)
    assert created.metadata is not None
    patched = client.patch(ConfigMap, "settings", {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    assert [item.metadata.name for item in client.list(ConfigMap, labels=LABELS)] == ["settings"]
    changes = client.watch(ConfigMap, labels=LABELS, resource_version=created.metadata.resourceVersion)
    assert next(changes)[0] == "MODIFIED"
    client.delete(ConfigMap, "settings")
    assert next(changes)[0] == "DELETED"
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "settings")
    assert missing.value.status.reason == "NotFound"
    client.create(Deployment.from_dict(deployment()))
    client.wait(Deployment, "web", for_conditions=["Available"])
    client.delete(Deployment, "web")


OPERATOR = """
import kopf

@kopf.on.create("configmaps", labels={"wanted": "yes"})
@kopf.on.update("configmaps", labels={"wanted": "yes"}, field="data")
def greet(body, patch, **_):
    patch.metadata.annotations["greeting"] = "hello " + body["data"]["name"]

@kopf.on.delete("configmaps", labels={"wanted": "yes"})
def part(body, **_):
    print("parted from " + body["data"]["name"], flush=True)
"""


def test_a_kopf_operator_reacts_to_config_maps(cluster: Up, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    program = tmp_path / "operator.py"
    program.write_text(OPERATOR)
    operator = subprocess.Popen(
        [sys.executable, "-m", "kopf", "run", "--standalone", f"--namespace={namespace}", str(program)],
        env=os.environ | {"KUBECONFIG": str(cluster.kubeconfig)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        kubectl("-n", namespace, "create", "configmap", "guest", "--from-literal=name=anna")
        kubectl("-n", namespace, "label", "configmap", "guest", "wanted=yes")
        greeting = "--for=jsonpath={.metadata.annotations.greeting}=hello "
        kubectl("-n", namespace, "wait", greeting + "anna", "configmap/guest", "--timeout=30s")
        kubectl("-n", namespace, "patch", "configmap", "guest", "--type=merge", "-p", '{"data":{"name":"bea"}}')
        kubectl("-n", namespace, "wait", greeting + "bea", "configmap/guest", "--timeout=30s")
        # Its finalizer holds the object until it has said goodbye.
        kubectl("-n", namespace, "delete", "configmap", "guest", "--timeout=30s")
    finally:
        operator.terminate()
        output, _ = operator.communicate(timeout=30)
    assert "parted from bea" in output, output
