"""Pods for the kubelet's tests: as the API server gives them, with its defaults."""

from __future__ import annotations

from typing import Any

from kubecore.api.meta import Object


def container_of(name: str = "main", **fields: Any) -> Object:
    return {"name": name, "image": "registry.example/app:1", "terminationMessagePath": "/dev/termination-log", **fields}


def pod_of(
    *containers: Object, name: str = "web", namespace: str = "default", uid: str = "", metadata: Any = None, **spec: Any
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-of-{name}", **(metadata or {})},
        "spec": {
            "containers": list(containers) or [container_of()],
            "restartPolicy": "Always",
            "enableServiceLinks": True,
            "serviceAccountName": "default",
            "nodeName": "node-0",
            "terminationGracePeriodSeconds": 30,
            **spec,
        },
    }


def amounts(*, requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> Object:
    """`resources` of a container or a pod."""
    given = {"requests": requests, "limits": limits}
    return {"resources": {kind: value for kind, value in given.items() if value}}
