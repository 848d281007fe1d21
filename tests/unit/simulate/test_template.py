"""What a render depends on: objects alike in that share one shape, and come out right all the same."""

import json
from typing import Any

from kubecore.simulate.template import Template

Object = dict[str, Any]

CONTAINERS = """
{{ $now := Now }}
containers:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  {{ if eq .restartPolicy "Always" }}started: true{{ end }}
  at: {{ $now | Quote }}
{{ end }}
address: {{ Address .metadata.name | Quote }}
"""


def pod(name: str, container: str, mount: str, policy: str = "Never") -> Object:
    mounts = [{"name": mount, "mountPath": "/var/run"}]
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {"containers": [{"name": container, "restartPolicy": policy, "volumeMounts": mounts}]},
    }


def rendered(template: Template, obj: Object) -> Object:
    answer: Object = json.loads(template.render(obj))
    return answer


def template(text: str) -> Template:
    return Template(text, {"Now": lambda: "noon", "Address": lambda name: f"ip-of-{name}"})


def test_fields_that_a_range_does_not_read_do_not_make_another_shape() -> None:
    pods = template(CONTAINERS)
    first = rendered(pods, pod("a", "web", "kube-api-access-x1"))
    second = rendered(pods, pod("b", "web", "kube-api-access-y2"))
    assert first == {"containers": [{"name": "web", "at": "noon"}], "address": "ip-of-a"}
    assert second == {"containers": [{"name": "web", "at": "noon"}], "address": "ip-of-b"}
    assert len(pods._shapes) == 1


def test_fields_that_a_range_reads_make_another_shape() -> None:
    pods = template(CONTAINERS)
    rendered(pods, pod("a", "web", "m"))
    assert rendered(pods, pod("a", "db", "m"))["containers"] == [{"name": "db", "at": "noon"}]
    sidecar = rendered(pods, pod("a", "web", "m", "Always"))
    assert sidecar["containers"] == [{"name": "web", "started": True, "at": "noon"}]
    assert len(pods._shapes) == 3


def test_a_range_that_shows_whole_elements_depends_on_all_of_them() -> None:
    whole = template("mounts:\n{{ range .spec.containers }}{{ YAML .volumeMounts }}\n{{ end }}")
    for mount in ("one", "two"):
        assert mount in json.dumps(rendered(whole, pod("a", "web", mount)))
    itself = template("tags:\n{{ range .spec.tags }}\n- {{ . | Quote }}\n{{ end }}")
    assert rendered(itself, {"metadata": {"uid": "a"}, "spec": {"tags": ["x"]}}) == {"tags": ["x"]}
    assert rendered(itself, {"metadata": {"uid": "b"}, "spec": {"tags": ["y"]}}) == {"tags": ["y"]}
    named = template("names:\n{{ range $index, $each := .spec.containers }}\n- {{ $each.name | Quote }}\n{{ end }}")
    assert rendered(named, pod("a", "web", "m")) == {"names": ["web"]}
    assert rendered(named, pod("a", "db", "m")) == {"names": ["db"]}


def test_a_range_over_a_map_sees_its_values_in_the_order_of_their_keys() -> None:
    ports = template("ports:\n{{ range .spec.ports }}\n- {{ .port }}\n{{ end }}")
    for first, second in ((1, 2), (3, 4)):
        obj = {"spec": {"ports": {"b": {"port": second}, "a": {"port": first}}}}
        assert rendered(ports, obj) == {"ports": [first, second]}
