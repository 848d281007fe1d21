"""The resources of `metrics.k8s.io`: what nodes and pods use now. They are made when asked for and stored nowhere, so the fact table has
no rows for them.

Source: https://github.com/kubernetes/metrics
"""

from __future__ import annotations

from kubecore.api.scheme import Resource

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
NODE_METRICS = Resource(GROUP, VERSION, "nodes", "", "NodeMetrics", namespaced=False, verbs=("get", "list"))
POD_METRICS = Resource(GROUP, VERSION, "pods", "", "PodMetrics", namespaced=True, verbs=("get", "list"))
RESOURCES = (NODE_METRICS, POD_METRICS)
