"""The scheduler as a person would write it from upstream's documents: one pod, every node, no cache. What the kernel is compared with.

Plain dictionaries in, names out. A plugin can be left out, so that a test can see that it matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from support import neighbour_model

Object = dict[str, Any]

SUFFIXES = {"m": Fraction(1, 1000), "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
MASK = 2**64 - 1
CPU_DEFAULT, MEMORY_DEFAULT = Fraction(1, 10), Fraction(200 * 2**20)


def quantity(text: str) -> Fraction:
    number = text.rstrip("mkMGKi")
    return Fraction(number) * SUFFIXES[text[len(number) :]]


def round_up(amount: Fraction) -> int:
    return -(-amount.numerator // amount.denominator)


def whole(name: str, amount: Fraction) -> int:
    return round_up(amount * 1000 if name == "cpu" else amount)


def requests(spec: Object, *, defaults: bool = False) -> dict[str, int]:
    """Sum of the containers, or the largest moment of starting up; overhead on top."""

    def of(container: Object) -> dict[str, Fraction]:
        asked = {name: quantity(text) for name, text in container.get("resources", {}).get("requests", {}).items()}
        return {"cpu": CPU_DEFAULT, "memory": MEMORY_DEFAULT, **asked} if defaults else asked

    def plus(left: dict[str, Fraction], right: dict[str, Fraction]) -> dict[str, Fraction]:
        return {name: left.get(name, Fraction(0)) + right.get(name, Fraction(0)) for name in {*left, *right}}

    def most(left: dict[str, Fraction], right: dict[str, Fraction]) -> dict[str, Fraction]:
        return {name: max(left.get(name, Fraction(0)), right.get(name, Fraction(0))) for name in {*left, *right}}

    total: dict[str, Fraction] = {}
    for container in spec["containers"]:
        total = plus(total, of(container))
    sidecars: dict[str, Fraction] = {}
    starting: dict[str, Fraction] = {}
    for container in spec.get("initContainers", ()):
        if container.get("restartPolicy") == "Always":
            sidecars = plus(sidecars, of(container))
            total = plus(total, of(container))
            starting = most(starting, sidecars)
        else:
            starting = most(starting, plus(sidecars, of(container)))
    total = most(total, starting)
    total = plus(total, {name: quantity(text) for name, text in spec.get("overhead", {}).items()})
    return {name: whole(name, amount) for name, amount in total.items()}


# ── node selectors and taints ──


def requirement_holds(requirement: Object, labels: dict[str, str]) -> bool:
    key, operator, values = requirement["key"], requirement["operator"], requirement.get("values", [])
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "Gt":
            return key in labels and labels[key].isdigit() and int(labels[key]) > int(values[0])
        case "Lt":
            return key in labels and labels[key].isdigit() and int(labels[key]) < int(values[0])
    raise AssertionError(operator)


def term_matches(term: Object, node: Object) -> bool:
    expressions, fields = term.get("matchExpressions", []), term.get("matchFields", [])
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels", {})
    name = {"metadata.name": node["metadata"]["name"]}
    return all(requirement_holds(each, labels) for each in expressions) and all(
        requirement_holds(each, name) for each in fields
    )


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def tolerated(taint: Object, spec: Object) -> bool:
    return any(tolerates(each, taint) for each in spec.get("tolerations", ()))


# ── the cluster ──


@dataclass
class Model:
    seed: int
    without: str = ""
    nodes: dict[str, Object] = field(default_factory=dict)
    running: dict[str, list[Object]] = field(default_factory=dict)
    placements: dict[str, int] = field(default_factory=dict)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels of each namespace."""
    together: list[tuple[str, Object]] = field(default_factory=list)
    """Services and replica sets: (resource, object)."""

    def schedule(self, pod: Object) -> str | None:
        """The best node; the pod then runs there."""
        reasons = {name: self.refusal(pod, node) for name, node in self.nodes.items()}
        feasible = [name for name, reason in reasons.items() if not reason]
        if not feasible:
            return None
        scores = self.scores(pod, feasible)
        best = max(feasible, key=lambda name: (scores[name], self.tie(name)))
        self.run(best, pod)
        self.placements[best] = self.placements.get(best, 0) + 1
        return best

    def run(self, name: str, pod: Object) -> None:
        self.running.setdefault(name, []).append(pod)

    def used(self, name: str, *, defaults: bool = False) -> dict[str, int]:
        total: dict[str, int] = {}
        for pod in self.running.get(name, ()):
            for resource, amount in requests(pod["spec"], defaults=defaults).items():
                total[resource] = total.get(resource, 0) + amount
        return total

    def allocatable(self, name: str) -> dict[str, int]:
        listed = self.nodes[name]["status"]["allocatable"]
        return {resource: whole(resource, quantity(text)) for resource, text in listed.items()}

    @staticmethod
    def own_requests(pod: Object) -> dict[str, int]:
        return requests(pod["spec"])

    def refusal(self, pod: Object, node: Object) -> list[str]:
        """The first plugin's reasons; empty if the node will do."""
        spec, there = pod["spec"], self.running.get(node["metadata"]["name"], [])
        for plugin, reasons in (
            ("NodeUnschedulable", self._cordoned(spec, node)),
            ("TaintToleration", self._tainted(spec, node)),
            ("NodeAffinity", self._unmatched(spec, node)),
            ("NodePorts", neighbour_model.ports_refusal(pod, there)),
            ("NodeResourcesFit", self._lacking(spec, node)),
            (
                "PodTopologySpread",
                neighbour_model.spread_refusal(pod, node, self.nodes, self.running, self._includes(spec)),
            ),
            (
                "InterPodAffinity",
                neighbour_model.affinity_refusal(pod, node, self.nodes, self.running, self.namespaces),
            ),
        ):
            if reasons and plugin != self.without:
                return reasons
        return []

    def _includes(self, spec: Object) -> neighbour_model.Includes:
        """Whether a node counts for a spread constraint."""

        def includes(constraint: Object, node: Object) -> bool:
            honors_affinity = constraint.get("nodeAffinityPolicy", "Honor") == "Honor"
            honors_taints = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
            return not (honors_affinity and self._unmatched(spec, node)) and not (
                honors_taints and self._tainted(spec, node)
            )

        return includes

    def _cordoned(self, spec: Object, node: Object) -> list[str]:
        taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        refused = node["spec"].get("unschedulable", False) and not tolerated(taint, spec)
        return ["node(s) were unschedulable"] if refused else []

    def _tainted(self, spec: Object, node: Object) -> list[str]:
        hard = [taint for taint in node["spec"].get("taints", ()) if taint["effect"] in ("NoSchedule", "NoExecute")]
        refused = any(not tolerated(taint, spec) for taint in hard)
        return ["node(s) had untolerated taint(s)"] if refused else []

    def _unmatched(self, spec: Object, node: Object) -> list[str]:
        labels = node["metadata"].get("labels", {})
        affinity = spec.get("affinity", {}).get("nodeAffinity", {})
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        matches = all(labels.get(key) == value for key, value in spec.get("nodeSelector", {}).items()) and (
            required is None or any(term_matches(term, node) for term in required["nodeSelectorTerms"])
        )
        return [] if matches else ["node(s) didn't match Pod's node affinity/selector"]

    def _lacking(self, spec: Object, node: Object) -> list[str]:
        name = node["metadata"]["name"]
        allocatable, used = self.allocatable(name), self.used(name)
        lacking = []
        if len(self.running.get(name, ())) >= allocatable.get("pods", 0):
            lacking.append("Too many pods")
        for resource, amount in sorted(requests(spec).items()):
            if amount > allocatable.get(resource, 0) - used.get(resource, 0) and amount > 0:
                lacking.append(f"Insufficient {resource}")
        return lacking

    def scores(self, pod: Object, feasible: list[str]) -> dict[str, int]:
        spec = pod["spec"]
        spread = neighbour_model.spread_scores(
            pod, feasible, self.nodes, self.running, self._includes(spec), self.default_selector(pod)
        )
        affinity = neighbour_model.affinity_scores(pod, feasible, self.nodes, self.running, self.namespaces)
        soft = {name: self._discouraging(spec, name) for name in feasible}
        preferred = {name: self._preferred(spec, name) for name in feasible}
        soft_most, preferred_most = max(soft.values()), max(preferred.values())
        totals = {}
        for name in feasible:
            plugins = {
                "TaintToleration score": 3 * (100 - (100 * soft[name] // soft_most if soft_most else 0)),
                "NodeAffinity score": 2 * (100 * preferred[name] // preferred_most if preferred_most else 0),
                "LeastAllocated": self._least_allocated(spec, name),
                "BalancedAllocation": self._balanced(spec, name),
                "ImageLocality": self._images(spec, name),
                "PodTopologySpread score": 2 * spread[name],
                "InterPodAffinity score": 2 * affinity[name],
            }
            totals[name] = sum(score for plugin, score in plugins.items() if plugin != self.without)
        return totals

    def default_selector(self, pod: Object) -> Object | None:
        """Whom the default spread constraints count: the pods of the same services and the same owner."""
        if self.without == "default spreading":
            return None
        labels: dict[str, str] = {}
        expressions: list[Object] = []
        owner = next((each["name"] for each in pod["metadata"].get("ownerReferences", ())), None)
        for resource, thing in self.together:
            if thing["metadata"]["namespace"] != pod["metadata"]["namespace"]:
                continue
            selector = thing["spec"]["selector"]
            if resource == "services" and selector.items() <= pod["metadata"]["labels"].items():
                labels |= selector
            elif resource == "replicasets" and thing["metadata"]["name"] == owner:
                expressions += [
                    {"key": key, "operator": "In", "values": [value]} for key, value in selector["matchLabels"].items()
                ]
        return {"matchLabels": labels, "matchExpressions": expressions} if labels or expressions else None

    def _discouraging(self, spec: Object, name: str) -> int:
        taints = self.nodes[name]["spec"].get("taints", ())
        return sum(taint["effect"] == "PreferNoSchedule" and not tolerated(taint, spec) for taint in taints)

    def _preferred(self, spec: Object, name: str) -> int:
        terms = spec.get("affinity", {}).get("nodeAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution")
        return sum(term["weight"] for term in terms or () if term_matches(term["preference"], self.nodes[name]))

    def _least_allocated(self, spec: Object, name: str) -> int:
        allocatable, used = self.allocatable(name), self.used(name, defaults=True)
        own = requests(spec, defaults=True)
        shares = []
        for resource in ("cpu", "memory"):
            whole_node = allocatable.get(resource, 0)
            if whole_node:
                taken = used.get(resource, 0) + own[resource]
                shares.append((whole_node - taken) * 100 // whole_node if taken <= whole_node else 0)
        return sum(shares) // len(shares) if shares else 0

    def _balanced(self, spec: Object, name: str) -> int:
        allocatable, used, own = self.allocatable(name), self.used(name), requests(spec)
        if not own.get("cpu") and not own.get("memory"):
            return 0
        fractions = [
            min(1.0, (used.get(resource, 0) + own.get(resource, 0)) / allocatable[resource])
            for resource in ("cpu", "memory")
            if allocatable.get(resource)
        ]
        deviation = abs((fractions[0] - fractions[1]) / 2) if len(fractions) == 2 else 0.0
        return int((1 - deviation) * 100)

    def _images(self, spec: Object, name: str) -> int:
        def held(node: Object) -> dict[str, int]:
            return {image: each["sizeBytes"] for each in node["status"].get("images", ()) for image in each["names"]}

        containers = [*spec.get("initContainers", ()), *spec["containers"]]
        here = held(self.nodes[name])
        total = 0
        for container in containers:
            image = container["image"]
            if image in here:
                spread = sum(image in held(node) for node in self.nodes.values()) / len(self.nodes)
                total += int(here[image] * spread)
        low, high = 23 * 2**20, 1000 * 2**20 * len(containers)
        return 100 * (min(max(total, low), high) - low) // (high - low)

    def tie(self, name: str) -> int:
        """As the kernel's documentation says: FNV-1a of the name, xor seed, moved on, splitmix64; the upper 40 bits."""
        mixed = 0xCBF29CE484222325
        for byte in name.encode():
            mixed = ((mixed ^ byte) * 0x100000001B3) & MASK
        mixed = ((mixed ^ self.seed) + (self.placements.get(name, 0) + 1) * 0x9E3779B97F4A7C15) & MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return (mixed ^ (mixed >> 31)) >> 24
