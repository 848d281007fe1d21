"""Stages: what happens to a simulated object next, in KWOK's format (`kwok.x-k8s.io/v1alpha1`, kind Stage).

In: YAML documents. Out: `Stage` objects that say whether they are for an object, after which delay, and what the
object then becomes. Kept of the format: resourceRef, selector, weight, delay (fixed, jitter, and both from an
expression), next (event, finalizers, delete, statusTemplate, patches of the status). Source:
https://kwok.sigs.k8s.io/docs/user/stages-configuration/
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from kubecore.api.meta import Object, parse_timestamp
from kubecore.simulate.selector import Query, Selector, SelectorError
from kubecore.simulate.template import Function, Template
from kubecore.simulate.template_syntax import TemplateError

API_VERSION = "kwok.x-k8s.io/v1alpha1"

_KNOWN = {
    "spec": {"resourceRef", "selector", "weight", "weightFrom", "delay", "next", "immediateNextStage"},
    "spec.delay": {
        "durationMilliseconds",
        "durationFrom",
        "jitterDurationMilliseconds",
        "jitterDurationFrom",
    },
    "spec.next": {"event", "finalizers", "delete", "statusTemplate", "patches", "statusSubresource"},
}


class StageError(Exception):
    """A Stage is malformed or uses something that is not understood; names the Stage."""


@dataclass(frozen=True, slots=True)
class Event:
    event_type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Finalizers:
    """`empty` takes all away, before `add` and `remove`."""

    add: tuple[str, ...]
    remove: tuple[str, ...]
    empty: bool

    def after(self, finalizers: Sequence[str]) -> list[str]:
        kept = [] if self.empty else [each for each in finalizers if each not in self.remove]
        return kept + [each for each in self.add if each not in kept]


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    kind: str
    selector: Selector
    weight: int
    weight_from: Query | None
    delay_seconds: float
    delay_from: Query | None
    jitter_seconds: float | None
    jitter_from: Query | None
    event: Event | None
    finalizers: Finalizers | None
    status: Template | None
    delete: bool

    def delay(self, obj: Object, *, now: float, randomness: random.Random) -> float:
        """Seconds until it happens. A jitter is the latest moment: any between the delay and the jitter is as good."""
        delay = _seconds(self.delay_from, obj, now, self.delay_seconds)
        latest = _seconds(self.jitter_from, obj, now, self.jitter_seconds)
        if delay is None:
            return 0.0
        if latest is not None and latest > delay:
            return delay + randomness.random() * (latest - delay)
        return delay

    def weight_for(self, obj: Object) -> int:
        found = self.weight_from.find(obj) if self.weight_from else []
        return int(found[0]) if found else self.weight


def choose(stages: Iterable[Stage], obj: Object, *, randomness: random.Random) -> Stage | None:
    """One of the stages that are for this object, by weight; those without weight only if none has any."""
    fitting = [stage for stage in stages if stage.selector.matches(obj)]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    weights = [stage.weight_for(obj) for stage in fitting]
    if not any(weights):
        return fitting[0]
    return randomness.choices(fitting, weights)[0]


def _seconds(query: Query | None, obj: Object, now: float, fallback: float | None) -> float | None:
    """A delay found in the object: a moment (RFC 3339) or a duration (`5s`, `100ms`)."""
    found = query.find(obj) if query else []
    if not found:
        return fallback
    text = str(found[0])
    if "T" in text:
        return max(0.0, parse_timestamp(text) - now)
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return fallback


def load(text: str | bytes, functions: Mapping[str, Function]) -> list[Stage]:
    """The Stages of a YAML stream. Raises StageError."""
    stages = []
    for document in yaml.safe_load_all(text):
        if document is None:
            continue
        if document.get("kind") != "Stage" or document.get("apiVersion") != API_VERSION:
            raise StageError(f"not a Stage: {document.get('apiVersion')} {document.get('kind')}")
        name = document.get("metadata", {}).get("name", "")
        try:
            stages.append(_stage(name, document.get("spec") or {}, functions))
        except (TemplateError, SelectorError, KeyError) as failure:
            raise StageError(f"stage {name!r}: {failure}") from failure
    return stages


def builtin(names: Iterable[str], functions: Mapping[str, Function]) -> list[Stage]:
    """Stages that come with the package: `pod-fast`, `node-fast`."""
    folder = resources.files("kubecore.simulate") / "builtin"
    return [stage for name in names for stage in load((folder / f"{name}.yaml").read_text(), functions)]


def _stage(name: str, spec: Mapping[str, Any], functions: Mapping[str, Function]) -> Stage:
    for path, fields in (("spec", spec), ("spec.delay", spec.get("delay")), ("spec.next", spec.get("next"))):
        unknown = sorted(set(fields or ()) - _KNOWN[path])
        if unknown:
            raise StageError(f"stage {name!r}: {path}.{unknown[0]} is not supported")
    delay, after = spec.get("delay") or {}, spec.get("next") or {}
    event = after.get("event")
    jitter = delay.get("jitterDurationMilliseconds")
    status = _status_template(name, after)
    return Stage(
        name=name,
        kind=spec["resourceRef"]["kind"],
        selector=Selector(spec.get("selector")),
        weight=spec.get("weight", 0),
        weight_from=_query(spec.get("weightFrom")),
        delay_seconds=delay.get("durationMilliseconds", 0) / 1000,
        delay_from=_query(delay.get("durationFrom")),
        jitter_seconds=None if jitter is None else jitter / 1000,
        jitter_from=_query(delay.get("jitterDurationFrom")),
        event=Event(event.get("type", "Normal"), event["reason"], event.get("message", "")) if event else None,
        finalizers=_finalizers(after.get("finalizers")),
        status=Template(status, functions) if status else None,
        delete=bool(after.get("delete")),
    )


def _status_template(name: str, after: Mapping[str, Any]) -> str:
    """From `statusTemplate`, or from its newer form: one patch of the status subresource."""
    patches = after.get("patches") or ()
    for patch in patches:
        if patch.get("subresource") != "status" or patch.get("root") != "status":
            raise StageError(f"stage {name!r}: spec.next.patches: only the status can be patched")
    if len(patches) > 1:
        raise StageError(f"stage {name!r}: spec.next.patches: only one is supported")
    return str(patches[0]["template"]) if patches else str(after.get("statusTemplate") or "")


def _query(source: Mapping[str, str] | None) -> Query | None:
    return Query(source["expressionFrom"]) if source else None


def _finalizers(spec: Mapping[str, Any] | None) -> Finalizers | None:
    if not spec:
        return None
    add = tuple(each["value"] for each in spec.get("add") or ())
    remove = tuple(each["value"] for each in spec.get("remove") or ())
    return Finalizers(add, remove, bool(spec.get("empty")))
