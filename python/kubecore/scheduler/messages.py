"""What is said about a pod that fits nowhere, in upstream's words (kube-scheduler 1.35).

In: the kernel's counted reasons. Out: the text of the FailedScheduling event and of the pod's condition.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubecore.scheduler.kernel import Failure

NO_NODES = "no nodes available to schedule pods"
NO_CLAIMS = "no new claims to deallocate"
"""What upstream's plugin for resource claims says, before preemption, of every pod that has none."""
NOTE_LENGTH_MAX = 1024
"""An event's note is no longer than that; the condition has the whole text."""


def assigned(namespace: str, name: str, node: str) -> str:
    return f"Successfully assigned {namespace}/{name} to {node}"


def gated(gates: Sequence[str]) -> str:
    """Upstream says so only in its log; here an event names the field as well."""
    return f"waiting for scheduling gates: [{' '.join(gates)}] (spec.schedulingGates)"


def preempted(preemptor_uid: str, node: str) -> str:
    return f"Preempted by pod {preemptor_uid} on node {node}"


def undecided(fields: Sequence[str]) -> str:
    """Hard constraints that the plugin table has no row for yet."""
    verb = "is" if len(fields) == 1 else "are"
    return f"{', '.join(fields)} {verb} not supported by this scheduler yet: the pod stays pending"


def failed(failure: Failure) -> str:
    if failure.undecided:
        return undecided(failure.undecided)
    if failure.nodes == 0:
        return NO_NODES
    text = f"0/{failure.nodes} nodes are available:"
    text += f" {failure.before_nodes}." if failure.before_nodes else _counted(failure.reasons)
    return text + _preemption(failure)


def _preemption(failure: Failure) -> str:
    match failure.preemption:
        case "not eligible":
            found = failure.not_eligible or ""
        case "useless":
            found = f"0/{failure.nodes} nodes are available:{_counted(failure.preemption_reasons)}"
        case "nominated" | "not considered":
            return ""
    return f" {NO_CLAIMS}, preemption: {found}"


def _counted(reasons: Sequence[tuple[str, int]]) -> str:
    """Sorted as text, counts included: `1 Too many pods, 12 Insufficient cpu`."""
    return " " + ", ".join(sorted(f"{count} {reason}" for reason, count in reasons)) + "." if reasons else ""


def note(text: str) -> str:
    """The text as an event may carry it."""
    if len(text.encode()) <= NOTE_LENGTH_MAX:
        return text
    return text.encode()[: NOTE_LENGTH_MAX - 4].decode(errors="ignore") + " ..."
