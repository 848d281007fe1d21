"""`kubecore describe`: an object in lines that a person reads, and its events. One table of lines a kind, the rest generic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from kubecore.api import errors, scheme
from kubecore.api.meta import Object, controller_of
from kubecore_cli import resources
from kubecore_cli.ages import human_age, last_seen
from kubecore_cli.resources import Target
from kubecore_cli.session import Session, command, error_line
from kubecore_cli.tables import columns

Line = tuple[str, Callable[[Object], Any]]


@command(help="Show objects in detail, with their events: `describe pod a`, `describe svc/mysql`, `describe nodes`.")
@click.argument("what", nargs=-1)
@click.option("-l", "--selector", default="", metavar="SELECTOR", help="Only objects with these labels.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@click.option("--show-events/--no-show-events", default=True, help="Their events too.")
async def describe(
    session: Session, what: tuple[str, ...], selector: str, all_namespaces: bool, show_events: bool
) -> int:
    code, blocks = 0, []
    for target in resources.parse(what):
        try:
            found = await _objects(session, target, selector, all_namespaces=all_namespaces)
        except errors.StatusError as error:
            click.echo(error_line(error), err=True)
            code = 1
            continue
        for obj in found:
            lines = describe_object(target.resource.kind, obj)
            if show_events:
                lines += await _events(session, target.resource.kind, obj)
            blocks.append("\n".join(lines))
    if blocks:
        click.echo("\n\n\n".join(blocks))
    elif not code:
        click.echo("No resources found", err=True)
    return code


async def _objects(session: Session, target: Target, selector: str, *, all_namespaces: bool) -> list[Object]:
    namespace = session.scope(target.resource, all_namespaces=all_namespaces)
    if target.name:
        return [await session.client.get(target.resource, namespace, target.name)]
    listed = await session.client.list(target.resource, namespace, label_selector=selector)
    return listed.items


async def _events(session: Session, kind: str, obj: Object) -> list[str]:
    metadata = obj["metadata"]
    selector = f"involvedObject.name={metadata['name']},involvedObject.kind={kind}"
    listed = await session.client.list(scheme.core("events"), metadata.get("namespace", ""), field_selector=selector)
    if not listed.items:
        return ["Events:  <none>"]
    rows = [["Type", "Reason", "Age", "From", "Message"], ["----", "------", "----", "----", "-------"]]
    for event in sorted(listed.items, key=last_seen):
        source = event.get("reportingComponent") or (event.get("source") or {}).get("component", "")
        age = human_age(time.time() - last_seen(event))
        rows.append([event.get("type", ""), event.get("reason", ""), age, source, event.get("message", "").strip()])
    return ["Events:", *columns(rows, indent="  ")]


# ── what a kind shows ──


def _pairs(values: dict[str, str] | None, separator: str = "=") -> list[str]:
    return [f"{key}{separator}{value}" for key, value in sorted((values or {}).items())]


def _spec(name: str) -> Callable[[Object], Any]:
    return lambda obj: (obj.get("spec") or {}).get(name)


def _status(name: str) -> Callable[[Object], Any]:
    return lambda obj: (obj.get("status") or {}).get(name)


def _controlled_by(obj: Object) -> str | None:
    owner = controller_of(obj)
    return f"{owner['kind']}/{owner['name']}" if owner else None


def _node_of(obj: Object) -> str:
    name = (obj.get("spec") or {}).get("nodeName")
    host = (obj.get("status") or {}).get("hostIP")
    return f"{name}/{host}" if name and host else name or "<none>"


def _pod_status(obj: Object) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str((obj.get("status") or {}).get("phase", ""))


def _tolerations(obj: Object) -> list[str]:
    lines = []
    for toleration in (obj.get("spec") or {}).get("tolerations") or ():
        value = f"={toleration['value']}" if toleration.get("value") else ""
        effect = f":{toleration['effect']}" if toleration.get("effect") else ""
        exists = " op=Exists" if toleration.get("operator") == "Exists" else ""
        seconds = toleration.get("tolerationSeconds")
        lines.append(
            f"{toleration.get('key', '')}{value}{effect}{exists}" + (f" for {seconds}s" if seconds is not None else "")
        )
    return lines


def _taints(obj: Object) -> list[str]:
    taints = (obj.get("spec") or {}).get("taints") or ()
    return [
        f"{taint['key']}" + (f"={taint['value']}" if taint.get("value") else "") + f":{taint['effect']}"
        for taint in taints
    ]


def _replicas(obj: Object) -> str:
    status = obj.get("status") or {}
    return f"{status.get('replicas', 0)} current / {(obj.get('spec') or {}).get('replicas', 1)} desired"


def _deployment_replicas(obj: Object) -> str:
    status = obj.get("status") or {}
    return (
        f"{(obj.get('spec') or {}).get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
        f"{status.get('replicas', 0)} total | {status.get('availableReplicas', 0)} available | "
        f"{status.get('unavailableReplicas', 0)} unavailable"
    )


def _selector(obj: Object) -> str:
    selector = (obj.get("spec") or {}).get("selector") or {}
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(_pairs(selector)) or "<none>"
    parts = _pairs(selector.get("matchLabels"))
    for expression in selector.get("matchExpressions") or ():
        parts.append(
            f"{expression['key']} {expression['operator'].lower()} ({','.join(expression.get('values') or ())})"
        )
    return ",".join(parts)


def _ports(obj: Object) -> list[str]:
    lines = []
    for port in (obj.get("spec") or {}).get("ports") or ():
        name = port.get("name") or "<unset>"
        lines.append(f"{name}  {port['port']}/{port.get('protocol', 'TCP')} → {port.get('targetPort')}")
        if port.get("nodePort"):
            lines.append(f"{name}  node port {port['nodePort']}/{port.get('protocol', 'TCP')}")
    return lines


def _rules(obj: Object) -> list[str]:
    lines = []
    for rule in obj.get("rules") or ():
        things = ",".join(rule.get("resources") or rule.get("nonResourceURLs") or ())
        names = ",".join(rule.get("resourceNames") or ())
        lines.append(f"{things}  [{names}]  [{' '.join(rule.get('verbs') or ())}]")
    return lines


def _data_sizes(obj: Object) -> list[str]:
    return [f"{key}:  {len(value)} bytes (base64)" for key, value in sorted((obj.get("data") or {}).items())]


LINES: dict[str, tuple[Line, ...]] = {
    "Pod": (
        ("Priority", _spec("priority")),
        ("Service Account", _spec("serviceAccountName")),
        ("Node", _node_of),
        ("Start Time", _status("startTime")),
        ("Status", _pod_status),
        ("IP", _status("podIP")),
        ("Controlled By", _controlled_by),
        ("QoS Class", _status("qosClass")),
        ("Node-Selectors", lambda obj: _pairs(_spec("nodeSelector")(obj)) or "<none>"),
        ("Tolerations", lambda obj: _tolerations(obj) or "<none>"),
    ),
    "Node": (
        ("Taints", lambda obj: _taints(obj) or "<none>"),
        ("Unschedulable", lambda obj: bool(_spec("unschedulable")(obj))),
        ("PodCIDR", _spec("podCIDR")),
        ("Capacity", lambda obj: _pairs(_status("capacity")(obj), ":  ")),
        ("Allocatable", lambda obj: _pairs(_status("allocatable")(obj), ":  ")),
    ),
    "Service": (
        ("Selector", _selector),
        ("Type", _spec("type")),
        ("IP Family Policy", _spec("ipFamilyPolicy")),
        ("IP", _spec("clusterIP")),
        ("Port", _ports),
        ("Session Affinity", _spec("sessionAffinity")),
    ),
    "ReplicationController": (("Selector", _selector), ("Replicas", _replicas)),
    "ReplicaSet": (("Selector", _selector), ("Controlled By", _controlled_by), ("Replicas", _replicas)),
    "Deployment": (
        ("Selector", _selector),
        ("Replicas", _deployment_replicas),
        ("StrategyType", lambda obj: (_spec("strategy")(obj) or {}).get("type")),
        ("MinReadySeconds", lambda obj: _spec("minReadySeconds")(obj) or 0),
    ),
    "Namespace": (("Status", _status("phase")),),
    "ConfigMap": (
        ("Data", lambda obj: [f"{key}:\n----\n{value}\n" for key, value in (obj.get("data") or {}).items()]),
    ),
    "Secret": (("Type", lambda obj: obj.get("type")), ("Data", _data_sizes)),
    "Role": (("PolicyRule", _rules),),
    "ClusterRole": (("PolicyRule", _rules),),
}
SHOWN_ABOVE = ("apiVersion", "kind", "metadata")


def describe_object(kind: str, obj: Object) -> list[str]:
    """The object as lines, without its events."""
    metadata = obj["metadata"]
    rows: list[tuple[str, Any]] = [("Name", metadata["name"])]
    if metadata.get("namespace"):
        rows.append(("Namespace", metadata["namespace"]))
    rows.append(("Labels", _pairs(metadata.get("labels")) or "<none>"))
    rows.append(("Annotations", _pairs(metadata.get("annotations"), ": ") or "<none>"))
    rows.append(("CreationTimestamp", metadata.get("creationTimestamp")))
    if kind in LINES:
        rows += [(name, read(obj)) for name, read in LINES[kind]]
    else:
        rows += [(name, value) for name, value in obj.items() if name not in SHOWN_ABOVE]
    lines = list(_lines(rows))
    lines += _containers(obj, kind)
    lines += _conditions(obj)
    return lines


def _lines(rows: Iterable[tuple[str, Any]]) -> Iterable[str]:
    shown = [(f"{name}:", value) for name, value in rows if value is not None]
    width = max(len(name) for name, _ in shown) + 2
    for name, value in shown:
        if isinstance(value, dict):
            value = json.dumps(value, indent=2).splitlines()
        texts = [str(item) for item in value] if isinstance(value, list) else [str(value)]
        yield name.ljust(width) + (texts[0] if texts else "")
        yield from (" " * width + text for text in texts[1:])


def _containers(obj: Object, kind: str) -> list[str]:
    spec = obj.get("spec") or {}
    pod_spec = spec if kind == "Pod" else (spec.get("template") or {}).get("spec") or {}
    states = {state["name"]: state for state in (obj.get("status") or {}).get("containerStatuses") or ()}
    lines: list[str] = []
    for title, field in (("Init Containers", "initContainers"), ("Containers", "containers")):
        if not pod_spec.get(field):
            continue
        lines.append(f"{title}:")
        for container in pod_spec[field]:
            lines.append(f"  {container['name']}:")
            rows = list(_container_rows(container, states.get(container["name"])))
            lines += columns(rows, indent="    ")
    return lines


def _container_rows(container: dict[str, Any], state: dict[str, Any] | None) -> Iterable[list[str]]:
    yield ["Image:", container.get("image", "")]
    ports = [f"{port['containerPort']}/{port.get('protocol', 'TCP')}" for port in container.get("ports") or ()]
    yield ["Ports:", ", ".join(ports) or "<none>"]
    if container.get("command"):
        yield ["Command:", " ".join(container["command"])]
    for title, values in sorted((container.get("resources") or {}).items()):
        if isinstance(values, dict):
            yield [f"{title.capitalize()}:", ", ".join(_pairs(values, ": "))]
    variables = [
        f"{variable['name']}={variable.get('value', '') if 'valueFrom' not in variable else '<from>'}"
        for variable in container.get("env") or ()
    ]
    yield ["Environment:", ", ".join(variables) or "<none>"]
    if state is not None:
        yield ["State:", next((name.capitalize() for name in state.get("state") or {}), "Waiting")]
        yield ["Ready:", str(state.get("ready", False))]
        yield ["Restart Count:", str(state.get("restartCount", 0))]


def _conditions(obj: Object) -> list[str]:
    conditions = (obj.get("status") or {}).get("conditions")
    if not conditions:
        return []
    rows = [["Type", "Status", "Reason"], ["----", "------", "------"]]
    rows += [[c["type"], c["status"], c.get("reason", "")] for c in conditions]
    return ["Conditions:", *columns(rows, indent="  ")]
