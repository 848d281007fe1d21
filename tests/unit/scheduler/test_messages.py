from dataclasses import dataclass, field

import pytest

from kubecore.scheduler import messages


@dataclass
class Reasons:
    """What the kernel says of a failure."""

    nodes: int = 5
    before_nodes: str | None = None
    reasons: list[tuple[str, int]] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    preemption: str = "not considered"
    not_eligible: str | None = None
    preemption_reasons: list[tuple[str, int]] = field(default_factory=list)


def said(**given: object) -> str:
    return messages.failed(Reasons(**given))  # type: ignore[arg-type]


def test_reasons_are_sorted_as_text_with_their_counts_first() -> None:
    text = said(reasons=[("Insufficient cpu", 12), ("Too many pods", 1), ("Insufficient memory", 2)], nodes=15)
    assert text == "0/15 nodes are available: 1 Too many pods, 12 Insufficient cpu, 2 Insufficient memory."


def test_a_pod_refused_before_any_node_was_looked_at_has_no_counts() -> None:
    useless = {"preemption": "useless", "preemption_reasons": [("Preemption is not helpful for scheduling", 5)]}
    assert said(before_nodes="pod affinity terms conflict", **useless) == (
        "0/5 nodes are available: pod affinity terms conflict. "
        "no new claims to deallocate, preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."
    )


@pytest.mark.parametrize(("preemption", "end"), [("not considered", ""), ("nominated", "")])
def test_where_preemption_adds_nothing_nothing_is_said_of_it(preemption: str, end: str) -> None:
    text = said(reasons=[("Insufficient cpu", 5)], preemption=preemption)
    assert text == "0/5 nodes are available: 5 Insufficient cpu." + end


def test_a_pod_that_may_not_preempt_is_told_why() -> None:
    why = "not eligible due to preemptionPolicy=Never."
    text = said(reasons=[("Insufficient cpu", 5)], preemption="not eligible", not_eligible=why)
    assert text == f"0/5 nodes are available: 5 Insufficient cpu. no new claims to deallocate, preemption: {why}"


def test_without_nodes_there_is_one_thing_to_say() -> None:
    assert said(nodes=0) == "no nodes available to schedule pods"


def test_fields_that_nobody_decides_are_named() -> None:
    text = said(undecided=["spec.resourceClaims[0]", "spec.volumes[1].persistentVolumeClaim"])
    assert text.startswith("spec.resourceClaims[0], spec.volumes[1].persistentVolumeClaim are not supported")


def test_a_note_is_cut_at_what_an_event_may_carry() -> None:
    assert messages.note("x" * 1024) == "x" * 1024
    cut = messages.note("é" * 1024)
    assert len(cut.encode()) <= 1024
    assert cut.endswith(" ...")
