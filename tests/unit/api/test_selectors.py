"""Selectors as Python sees them; the syntax is tested in the Rust crate."""

import pytest

from kubecore.api import codec


@pytest.mark.parametrize(
    ("selector", "expected"),
    [("", True), ("app=web", True), ("app in (db),tier", False), ("app!=db,!missing", True), ("tier=", False)],
)
def test_labels_are_matched_by_a_selector(selector: str, expected: bool) -> None:
    assert codec.label_selector_matches(selector, {"app": "web", "tier": "front"}) is expected


def test_a_malformed_label_selector_is_told_in_upstreams_words() -> None:
    with pytest.raises(
        ValueError, match="unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
    ):
        codec.validate_label_selector("a b")


@pytest.mark.parametrize(
    ("group", "resource", "selector", "message"),
    [
        ("", "pods", "spec.nodeName=a,status.phase!=Failed", None),
        ("", "pods", "spec.foo=a", "field label not supported: spec.foo"),
        (
            "apps",
            "deployments",
            "spec.foo=a",
            '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("", "nodes", "nonsense", "invalid selector: 'nonsense'; can't understand 'nonsense'"),
    ],
)
def test_a_field_that_is_not_offered_is_told_in_upstreams_words(
    group: str, resource: str, selector: str, message: str | None
) -> None:
    assert codec.field_selector_supported(group, "v1", resource, selector) == message
