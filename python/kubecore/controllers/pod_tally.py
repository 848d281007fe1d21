"""How many pods of each owner are in which state, kept up to date by each change.

An owner of 10,000 pods is woken by each of their changes; counting its pods each time would be quadratic. The tally
makes that a look at a few counters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kubecore.api.meta import Object, key_of
from kubecore.api.scheme import core
from kubecore.client import Informer
from kubecore.controllers import pods
from kubecore.controllers.base import Informers


class PodClass(NamedTuple):
    """Pods of one owner that are all alike to it."""

    active: bool
    terminating: bool
    ready: bool
    labels: tuple[tuple[str, str], ...]


def classify(pod: Object) -> PodClass:
    labels = pod["metadata"].get("labels")
    return PodClass(
        pods.is_active(pod),
        pods.is_terminating(pod),
        pods.is_ready(pod),
        tuple(sorted(labels.items())) if labels else (),
    )


class PodTally:
    """Counts by controller uid. Register it before the handlers that read it."""

    def __init__(self, informer: Informer) -> None:
        self._counts: dict[str, dict[PodClass, int]] = {}
        self._counted: dict[str, tuple[str, PodClass]] = {}
        informer.add_handler(self._changed)

    def of(self, uid: str) -> Mapping[PodClass, int]:
        return self._counts.get(uid, {})

    def _changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        if pod is None:
            return
        key = key_of(pod)
        # What was added is subtracted, not what `old` says: a deletion shows a state that was never counted.
        before = self._counted.pop(key, None)
        after = None
        if new is not None and (uid := pods.controller_uid(new)):
            after = self._counted[key] = (uid, classify(new))
        if before != after:
            if before:
                self._add(*before, -1)
            if after:
                self._add(*after, 1)

    def _add(self, uid: str, kind: PodClass, number: int) -> None:
        counts = self._counts.setdefault(uid, {})
        left = counts.get(kind, 0) + number
        if left:
            counts[kind] = left
            return
        del counts[kind]
        if not counts:
            del self._counts[uid]


def shared_tally(informers: Informers) -> PodTally:
    tally: PodTally = informers.derived("pod-tally", lambda: PodTally(informers.of(core("pods"))))
    return tally
