import random
from typing import Any

import pytest

from kubecore.simulate import stages
from kubecore.simulate.selector import Query, SelectorError
from kubecore.simulate.stages import StageError
from kubecore.simulate.template import Template
from kubecore.simulate.template_syntax import TemplateError


def render(text: str, obj: dict[str, Any], **functions: Any) -> bytes:
    return Template(text, functions).render(obj)


def test_fields_ranges_and_conditions_become_values() -> None:
    text = """
    {{- $who := .metadata.name }}
    names:
    {{ range $index, $each := .spec.containers }}
    - {{ printf "%d-%s-%s" $index $each.name $who | Quote }}
    {{ end }}
    {{ if and .spec.hostNetwork (eq .spec.kind "a" "b") }}
    host: true
    {{ else }}
    host: false
    {{ end }}
    {{ with .spec.missing }}
    found: {{ . }}
    {{ else }}
    found: nothing
    {{ end }}
    """
    obj = {"metadata": {"name": "n"}, "spec": {"containers": [{"name": "x"}, {"name": "y"}], "kind": "b"}}
    assert render(text, obj) == b'{"names":["0-x-n","1-y-n"],"host":false,"found":"nothing"}'
    obj["spec"]["hostNetwork"] = True  # type: ignore[index]
    assert b'"host":true' in render(text, obj)


def test_what_differs_from_object_to_object_is_filled_in_and_the_rest_is_kept() -> None:
    calls: list[str] = []
    numbers = iter(range(100))

    def now() -> str:
        calls.append("now")
        return f"t{next(numbers)}"

    template = Template(
        "at: {{ $now := Now }}{{ $now | Quote }}\nagain: {{ $now | Quote }}\nimage: {{ .image }}", {"Now": now}
    )
    assert template.render({"image": "a"}) == b'{"at":"t0","again":"t0","image":"a"}'
    assert template.render({"image": "a"}) == b'{"at":"t1","again":"t1","image":"a"}'
    assert template.render({"image": "b"}) == b'{"at":"t2","again":"t2","image":"b"}'


def test_a_template_that_decides_by_a_function_is_run_each_time() -> None:
    state = {"port": 0}
    template = Template("{{ with Port }}port: {{ . }}{{ else }}port: none{{ end }}", {"Port": lambda: state["port"]})
    assert template.render({}) == b'{"port":"none"}'
    state["port"] = 10250
    assert template.render({}) == b'{"port":10250}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ Unheard }}", "unknown function 'Unheard'"),
        ("{{ if .a }}", "has no end"),
        ("{{ end }}", "unexpected"),
        ("{{ ( .a }}", "parenthesis is not closed"),
        ("{{ .a # }}", "not understood"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        Template(text, {})


def test_expressions_find_fields_elements_and_selections() -> None:
    obj = {
        "metadata": {"annotations": {"a.b/c": "x"}, "ownerReferences": [{"kind": "Job"}, {"kind": "Set"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk", "status": "False"}]},
    }
    assert Query('.metadata.annotations["a.b/c"]').find(obj) == ["x"]
    assert Query(".metadata.ownerReferences.[].kind").find(obj) == ["Job", "Set"]
    assert Query('.status.conditions.[] | select( .type == "Ready" ) | .status').find(obj) == ["True"]
    assert Query(".status.phase").find(obj) == []
    with pytest.raises(SelectorError, match="not understood"):
        Query(".a | map(.b)")


def test_a_stage_with_an_unknown_part_is_refused_by_name() -> None:
    text = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: odd}
spec:
  resourceRef: {kind: Pod}
  next: {explode: true}
"""
    with pytest.raises(StageError, match=r"stage 'odd': spec.next.explode is not supported"):
        stages.load(text, {})


def test_of_several_stages_one_is_chosen_by_weight() -> None:
    def stage(name: str, weight: int) -> str:
        return f"""
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {{name: {name}}}
spec:
  resourceRef: {{kind: Pod}}
  weight: {weight}
  next: {{delete: true}}
---
"""

    loaded = stages.load(stage("rare", 1) + stage("often", 9) + stage("never", 0), {})
    randomness = random.Random(1)
    names = [chosen.name for _ in range(1000) if (chosen := stages.choose(loaded, {}, randomness=randomness))]
    assert 50 < names.count("rare") < 150
    assert names.count("never") == 0


def test_a_delay_lies_between_its_duration_and_its_jitter() -> None:
    text = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: s}
spec:
  resourceRef: {kind: Pod}
  delay:
    durationMilliseconds: 1000
    jitterDurationMilliseconds: 3000
    durationFrom: {expressionFrom: '.metadata.annotations["delay"]'}
  next: {delete: true}
"""
    [stage] = stages.load(text, {})
    randomness = random.Random(1)
    delays = [stage.delay({}, now=0, randomness=randomness) for _ in range(100)]
    assert min(delays) >= 1
    assert max(delays) <= 3
    assert max(delays) - min(delays) > 1
    assert stage.delay({"metadata": {"annotations": {"delay": "2500ms"}}}, now=0, randomness=randomness) >= 2.5
