from __future__ import annotations

from typing import Any

import pytest

from kubecore.api import labels
from kubecore.api import validation as v


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (v.required("a.b", "why"), "a.b: Required value: why"),
        (v.required("a"), "a: Required value"),
        (v.invalid_value("a", "x", "why"), 'a: Invalid value: "x": why'),
        (v.invalid_value("a", 7, "why"), "a: Invalid value: 7: why"),
        (v.invalid_value("a", None, "why"), "a: Invalid value: null: why"),
        (v.invalid_value("a", True, "why"), "a: Invalid value: true: why"),
        (v.invalid_value("a", {"b": "c"}, "why"), 'a: Invalid value: {"b":"c"}: why'),
        (v.unsupported("a", "x", ["b", "c"]), 'a: Unsupported value: "x": supported values: "b", "c"'),
        (v.duplicate("a", "x"), 'a: Duplicate value: "x"'),
        (v.missing("a", "x"), 'a: Not found: "x"'),
        (v.forbidden("a", "why"), "a: Forbidden: why"),
        (v.too_long("a", 10), "a: Too long: may not be more than 10 bytes"),
        (v.too_many("a", 5, 3), "a: Too many: 5: must have at most 3 items"),
    ],
)
def test_an_error_reads_as_upstreams(error: v.FieldError, text: str) -> None:
    assert repr(error) == text


def test_one_error_stands_alone_and_several_in_brackets() -> None:
    one = v.to_status("Pod", "", "p", [v.required("a")])
    assert one.message == 'Pod "p" is invalid: a: Required value'
    two = v.to_status("Deployment", "apps", "d", [v.required("a"), v.required("b"), v.required("a")])
    assert two.message == 'Deployment.apps "d" is invalid: [a: Required value, b: Required value]'
    assert two.details["causes"][0] == {"reason": "FieldValueRequired", "message": "Required value", "field": "a"}


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (v.is_dns1123_label, ["a", "a-b", "0a", "a" * 63], ["", "A", "a.b", "-a", "a-", "a" * 64]),
        (v.is_dns1123_subdomain, ["a", "a.b-c", "a" * 253], ["", "a..b", "a_b", "a" * 254]),
        (v.is_dns1035_label, ["a", "a1"], ["1a", "A", ""]),
        (v.is_qualified_name, ["a", "A_b.c", "example.com/x"], ["", "/x", "a/", "a/b/c", "a b", "x" * 64]),
        (v.is_label_value, ["", "a", "A_b.c-d"], ["-a", "a b", "x" * 64]),
        (v.is_port_name, ["http", "a-1"], ["", "8080", "a--b", "-a", "A", "a" * 16]),
        (v.is_config_key, ["a", ".a", "A_b"], ["", ".", "..", "..a", "a/b", "a" * 254]),
        (v.is_env_name, ["A", "a b", "1"], ["", "A=B", "ü"]),
        (v.is_percent, ["1%", "100%"], ["1", "%", "1.5%"]),
    ],
)
def test_a_shape_takes_the_good_and_refuses_the_bad(shape: Any, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if shape(value)] == []
    assert [value for value in bad if not shape(value)] == []


def test_a_label_with_dots_is_told_so() -> None:
    assert v.is_dns1123_label("a.b") == ("must not contain dots",)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_selector_selects(selector: dict[str, Any] | None, matches: bool) -> None:
    assert labels.matches(selector, {"a": "1"}) is matches


def test_a_selector_as_text_is_sorted() -> None:
    selector = {"matchLabels": {"b": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}
    assert labels.to_text(selector) == "a in (x,y),b=1"


def test_a_plain_selector_that_is_empty_selects_nothing() -> None:
    assert not labels.matches_simple({}, {"a": "1"})
    assert labels.matches_simple({"a": "1"}, {"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ({"key": "a", "operator": "In"}, "s.matchExpressions[0].values"),
        ({"key": "a", "operator": "Exists", "values": ["x"]}, "s.matchExpressions[0].values"),
        ({"key": "a", "operator": "Like"}, "s.matchExpressions[0].operator"),
        ({"key": "a b", "operator": "Exists"}, "s.matchExpressions[0].key"),
    ],
)
def test_a_selector_that_makes_no_sense_is_told(expression: dict[str, Any], field: str) -> None:
    assert [error.field for error in labels.validate_selector({"matchExpressions": [expression]}, "s")] == [field]
