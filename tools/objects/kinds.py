"""Random objects of the kinds that upstream has printers for: what matters to a table is varied, the rest left out."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Sequence
from typing import Any

Object = dict[str, Any]


class Maker:
    """Makes objects from a seed. Times lie whole hours and half a minute before `now_seconds`: slow answers read the same ages."""

    def __init__(self, seed: int, now_seconds: float) -> None:
        self.random = random.Random(seed)
        self.now_seconds = now_seconds

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def flag(self) -> bool:
        return self.random.random() < 0.5

    def number(self) -> int:
        return self.random.randint(0, 5)

    def quantity(self) -> str:
        return str(self.one("1", "500m", "10Gi", "1Ki", "0"))

    def some(self, choices: Sequence[Any]) -> list[Any]:
        return self.random.sample(list(choices), self.random.randint(0, len(choices)))

    def many(self, make: Callable[[], Any], most: int) -> list[Any]:
        return [make() for _ in range(self.random.randint(0, most))]

    def perhaps(self, **members: Any) -> Object:
        """About half of these members; a callable makes its value."""
        chosen = {key: value for key, value in members.items() if self.flag()}
        return {key: value() if callable(value) else value for key, value in chosen.items()}

    def time(self) -> str:
        age = self.random.randint(1, 30_000) * 3600 + 30
        moment = datetime.datetime.fromtimestamp(int(self.now_seconds) - age, datetime.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def micro_time(self) -> str:
        return self.time()[:-1] + ".123456Z"

    def labels(self) -> Object:
        return {key: self.one("1", "2", "") for key in self.some(["app", "tier", "z", "b"])}

    def metadata(self) -> Object:
        owner = {
            "apiVersion": self.one("apps/v1", "v1"),
            "kind": "DaemonSet",
            "name": "d",
            "uid": "u",
            "controller": self.flag(),
        }
        classes = {
            "storageclass.kubernetes.io/is-default-class": "true",
            "storageclass.beta.kubernetes.io/is-default-class": "true",
            "volume.beta.kubernetes.io/storage-class": "beta",
        }
        extra = self.perhaps(creationTimestamp=self.time, ownerReferences=[owner])
        if self.random.random() < 0.2:
            extra |= {"deletionTimestamp": self.time(), "annotations": self.perhaps(**classes)}
        return {"name": self.one("a", "web", "x-1"), "labels": self.labels(), **extra}

    def selector(self) -> Object:
        operators = [
            {"operator": "In", "values": ["y", "x"]},
            {"operator": "NotIn", "values": ["x"]},
            {"operator": "Exists"},
            {"operator": "DoesNotExist"},
            {"operator": "Bad"},
        ]
        expression = lambda: {"key": self.one("p", "q"), **self.one(*operators)}  # noqa: E731
        return self.perhaps(matchLabels=self.labels, matchExpressions=lambda: self.many(expression, 2))

    def conditions(self, *kinds: str) -> list[Object]:
        reasons = lambda: self.one("SchedulingGated", "X")  # noqa: E731
        return [
            {"type": kind, "status": self.one("True", "False", "Unknown"), **self.perhaps(reason=reasons)}
            for kind in self.some(kinds)
        ]

    def state(self) -> Object:
        ended = self.perhaps(reason=lambda: self.one("Completed", "Error"), signal=9, finishedAt=self.time)
        waiting = self.perhaps(reason=lambda: self.one("CrashLoopBackOff", "PodInitializing", "ContainerCreating"))
        states = [
            {},
            {"running": {}},
            {"waiting": waiting},
            {"terminated": {"exitCode": self.one(0, 0, 1, 3), **ended}},
        ]
        return dict(self.one(*states))

    def container_status(self, name: str) -> Object:
        last = lambda: {"terminated": {"exitCode": 1, **self.perhaps(finishedAt=self.time)}}  # noqa: E731
        known = {"name": name, "ready": self.flag(), "restartCount": self.number() // 2, "image": "i", "imageID": ""}
        return {**known, "state": self.state(), **self.perhaps(lastState=last, started=self.flag)}

    def pod_spec(self) -> Object:
        sidecar = lambda: {"restartPolicy": "Always"} if self.flag() else {}  # noqa: E731
        return {
            "containers": [{"name": name, "image": f"{name}:1"} for name in self.some(["c1", "c2"]) or ["c3"]],
            **self.perhaps(
                nodeName="n1",
                nodeSelector=self.labels,
                readinessGates=lambda: [{"conditionType": gate} for gate in self.some(["g1", "g2"])],
                initContainers=lambda: [{"name": name, "image": "i", **sidecar()} for name in self.some(["i1", "i2"])],
            ),
        }

    def template(self) -> Object:
        return {"metadata": {"labels": self.labels()}, "spec": self.pod_spec()}

    def pod(self) -> Object:
        spec = self.pod_spec()
        status = self.perhaps(nominatedNodeName="nn", podIPs=[{"ip": "10.0.0.1"}])
        status["phase"] = self.one("Pending", "Running", "Succeeded", "Failed", "Unknown")
        if self.random.random() < 0.2:
            status["reason"] = self.one("Evicted", "NodeLost")
        status["conditions"] = self.conditions("PodScheduled", "Ready", "Initialized", "g1", "g2")
        status["containerStatuses"] = [self.container_status(container["name"]) for container in spec["containers"]]
        if self.flag():
            status["initContainerStatuses"] = [
                self.container_status(container["name"]) for container in spec.get("initContainers", [])
            ]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": self.metadata(), "spec": spec, "status": status}

    def autoscaler(self) -> Object:
        metrics, current = [], []
        for kind in self.some(["Resource", "Pods", "Object", "External", "ContainerResource"]):
            field = kind[0].lower() + kind[1:]
            average, value = {"averageValue": self.quantity()}, {"value": self.quantity()}
            utilization = {"averageUtilization": 50}
            base: Object = {"metric": {"name": "m"}}
            if kind in ("Resource", "ContainerResource"):
                base = {"name": "cpu", **({"container": "c"} if kind == "ContainerResource" else {})}
            elif kind == "Object":
                base["describedObject"] = {"kind": "X", "name": "y"}
            target = {
                "Resource": self.one({"type": "Utilization", **utilization}, {"type": "AverageValue", **average}),
                "ContainerResource": self.one(
                    {"type": "Utilization", **utilization}, {"type": "AverageValue", **average}
                ),
                "Pods": {"type": "AverageValue", **average},
            }.get(kind, self.one({"type": "AverageValue", **average}, {"type": "Value", **value}))
            seen = {**average, **self.perhaps(**utilization)} if kind in ("Resource", "ContainerResource") else average
            seen = {**value, **self.perhaps(**average)} if kind in ("Object", "External") else seen
            metrics.append({"type": kind, field: {**base, "target": target}})
            current.append({"type": kind, field: {**base, "current": seen}})
        spec = {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3, "metrics": metrics}
        status = {
            "currentReplicas": self.number(),
            "desiredReplicas": self.number(),
            **self.perhaps(currentMetrics=current),
        }
        rules = lambda: self.perhaps(stabilizationWindowSeconds=self.number, selectPolicy="Max")  # noqa: E731
        spec |= self.perhaps(minReplicas=1, behavior=lambda: self.perhaps(scaleUp=rules, scaleDown=rules))
        metadata = {**self.metadata(), "annotations": self.perhaps(mine="1")}
        kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
        return {**kind, "metadata": metadata, "spec": spec, "status": status}

    def event(self) -> Object:
        series = lambda: {"count": self.number(), "lastObservedTime": self.micro_time()}  # noqa: E731
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": self.metadata(),
            "involvedObject": self.perhaps(kind="Pod", name="p", fieldPath="f"),
            **self.perhaps(
                reason="R",
                message="  hello\n",
                type="Normal",
                firstTimestamp=self.time,
                lastTimestamp=self.time,
                count=self.number,
                eventTime=self.micro_time,
                series=series,
                source=lambda: self.perhaps(component="c", host="h"),
                reportingComponent="rc",
                reportingInstance="ri",
            ),
        }

    def of(self, api_version: str, kind: str, **members: Any) -> Object:
        return {"apiVersion": api_version, "kind": kind, "metadata": self.metadata(), **members}

    def every_kind(self) -> dict[tuple[str, str], Object]:
        """One object of each kind, by group and resource."""
        scaled = {"replicas": self.number(), "template": self.template()}
        counts = self.perhaps(replicas=self.number, readyReplicas=self.number, updatedReplicas=self.number)
        balanced = {
            "loadBalancer": {"ingress": self.many(lambda: self.one({"ip": "1.1.1.1"}, {"hostname": "h"}, {}), 3)}
        }

        def subject():
            return {
                "kind": self.one("User", "Group", "ServiceAccount"),
                "name": "s",
                **self.perhaps(namespace="n"),
            }

        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
        port = lambda: {"port": self.one(80, 443), "protocol": "TCP", **self.perhaps(nodePort=30000)}  # noqa: E731
        modes = lambda: self.some(["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"])  # noqa: E731
        info = [
            "machineID",
            "systemUUID",
            "bootID",
            "kernelVersion",
            "osImage",
            "containerRuntimeVersion",
            "kubeletVersion",
        ]
        info += ["kubeProxyVersion", "operatingSystem", "architecture"]
        subset = lambda: self.perhaps(  # noqa: E731
            addresses=lambda: self.many(lambda: {"ip": self.one("1.1.1.1", "fd::1")}, 4),
            ports=lambda: self.many(lambda: {"port": self.one(80, 443)}, 2),
        )
        daemon = {key: self.number() for key in ("currentNumberScheduled", "desiredNumberScheduled", "numberReady")}
        quantities = lambda names: {name: self.quantity() for name in self.some(names)}  # noqa: E731
        rbac = "rbac.authorization.k8s.io/v1"
        made = [
            ("", "pods", self.pod()),
            ("", "podtemplates", self.of("v1", "PodTemplate", template=self.template())),
            (
                "",
                "replicationcontrollers",
                self.of("v1", "ReplicationController", spec={**scaled, "selector": self.labels()}),
            ),
            (
                "apps",
                "replicasets",
                self.of("apps/v1", "ReplicaSet", spec={**scaled, "selector": self.selector()}, status={"replicas": 2}),
            ),
            (
                "apps",
                "deployments",
                self.of("apps/v1", "Deployment", spec={**scaled, "selector": self.selector()}, status=counts),
            ),
            (
                "apps",
                "statefulsets",
                self.of("apps/v1", "StatefulSet", spec={**scaled, "selector": self.selector()}, status=counts),
            ),
            (
                "apps",
                "daemonsets",
                self.of(
                    "apps/v1",
                    "DaemonSet",
                    spec={"template": self.template(), "selector": self.selector()},
                    status=daemon,
                ),
            ),
            ("apps", "controllerrevisions", self.of("apps/v1", "ControllerRevision", revision=self.number())),
            (
                "batch",
                "jobs",
                self.of(
                    "batch/v1",
                    "Job",
                    spec={
                        "template": self.template(),
                        **self.perhaps(completions=self.number, parallelism=self.number),
                    },
                    status={
                        **self.perhaps(succeeded=2, startTime=self.time),
                        "conditions": self.conditions("Complete", "Failed", "Suspended"),
                    },
                ),
            ),
            (
                "batch",
                "cronjobs",
                self.of(
                    "batch/v1",
                    "CronJob",
                    spec={
                        "schedule": "* * * * *",
                        "jobTemplate": {"spec": {"template": self.template()}},
                        **self.perhaps(timeZone="UTC", suspend=self.flag),
                    },
                    status=self.perhaps(lastScheduleTime=self.time, active=[{"name": "j"}]),
                ),
            ),
            (
                "",
                "services",
                self.of(
                    "v1",
                    "Service",
                    spec={
                        "type": self.one("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
                        "ports": self.many(port, 3),
                        **self.perhaps(
                            selector=self.labels,
                            clusterIPs=["10.0.0.1", "fd::1"],
                            externalIPs=["9.9.9.9"],
                            externalName="e",
                        ),
                    },
                    status=balanced,
                ),
            ),
            ("", "endpoints", self.of("v1", "Endpoints", subsets=self.many(subset, 2))),
            (
                "discovery.k8s.io",
                "endpointslices",
                self.of(
                    "discovery.k8s.io/v1",
                    "EndpointSlice",
                    addressType="IPv4",
                    ports=self.many(lambda: self.perhaps(port=80, name="h"), 5),
                    endpoints=self.many(lambda: {"addresses": ["1.1.1.1"]}, 5),
                ),
            ),
            (
                "networking.k8s.io",
                "ingresses",
                self.of(
                    "networking.k8s.io/v1",
                    "Ingress",
                    spec=self.perhaps(
                        ingressClassName="c", rules=lambda: self.many(lambda: self.perhaps(host="a.com"), 6), tls=[{}]
                    ),
                    status=balanced,
                ),
            ),
            (
                "networking.k8s.io",
                "networkpolicies",
                self.of("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": self.selector()}),
            ),
            (
                "",
                "nodes",
                self.of(
                    "v1",
                    "Node",
                    spec=self.perhaps(unschedulable=self.flag),
                    status={
                        "conditions": self.conditions("Ready", "MemoryPressure"),
                        "addresses": self.many(
                            lambda: {"type": self.one("InternalIP", "ExternalIP"), "address": "1.1.1.1"}, 3
                        ),
                        "nodeInfo": {key: self.one("", "v1") for key in info},
                    },
                ),
            ),
            ("", "events", self.event()),
            ("", "namespaces", self.of("v1", "Namespace", status={"phase": self.one("Active", "Terminating")})),
            ("", "secrets", self.of("v1", "Secret", type="Opaque", data=dict.fromkeys(self.some("abc"), "YQ=="))),
            ("", "configmaps", self.of("v1", "ConfigMap", data=dict.fromkeys(self.some("abc"), "x"))),
            (
                "",
                "persistentvolumes",
                self.of(
                    "v1",
                    "PersistentVolume",
                    spec={
                        "hostPath": {"path": "/x"},
                        **self.perhaps(
                            capacity={"storage": "1Gi"},
                            accessModes=modes,
                            claimRef={"namespace": "n", "name": "c"},
                            volumeMode="Block",
                        ),
                    },
                    status=self.perhaps(phase="Bound", reason="because"),
                ),
            ),
            (
                "",
                "persistentvolumeclaims",
                self.of(
                    "v1",
                    "PersistentVolumeClaim",
                    spec=self.perhaps(volumeName="v", storageClassName="sc", volumeMode="Block"),
                    status=self.perhaps(phase="Bound", accessModes=modes, capacity={"storage": "1Gi"}),
                ),
            ),
            ("autoscaling", "horizontalpodautoscalers", self.autoscaler()),
            (
                "policy",
                "poddisruptionbudgets",
                self.of("policy/v1", "PodDisruptionBudget", spec=self.perhaps(minAvailable=1, maxUnavailable="50%")),
            ),
            (
                "rbac.authorization.k8s.io",
                "rolebindings",
                self.of(rbac, "RoleBinding", roleRef=role, subjects=self.many(subject, 4)),
            ),
            (
                "rbac.authorization.k8s.io",
                "clusterrolebindings",
                self.of(rbac, "ClusterRoleBinding", roleRef=role, subjects=self.many(subject, 4)),
            ),
            (
                "coordination.k8s.io",
                "leases",
                self.of("coordination.k8s.io/v1", "Lease", spec=self.perhaps(holderIdentity="h")),
            ),
            (
                "storage.k8s.io",
                "storageclasses",
                self.of("storage.k8s.io/v1", "StorageClass", provisioner="p", **self.perhaps(reclaimPolicy="Retain")),
            ),
            (
                "scheduling.k8s.io",
                "priorityclasses",
                self.of("scheduling.k8s.io/v1", "PriorityClass", value=self.number()),
            ),
            (
                "",
                "resourcequotas",
                self.of(
                    "v1",
                    "ResourceQuota",
                    status={
                        "hard": quantities(["pods", "limits.cpu", "requests.cpu"]),
                        "used": quantities(["pods", "limits.cpu"]),
                    },
                ),
            ),
        ]
        return {(group, resource): one for group, resource, one in made}
