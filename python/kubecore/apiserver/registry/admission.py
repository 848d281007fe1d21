"""The seam between the registry and admission: what a plugin sees of one mutation, and what a plugin is.

The registry builds one `AdmissionRequest` for each mutation, hands it to `Admission.mutate` before the strategy and to
`Admission.validate` after it, then writes what is left in `request.object`. The plugins themselves, one file each, live in the
access room and import this module; this module imports nothing above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kubecore.api.meta import Object
from kubecore.api.scheme import Resource

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: what the authenticator found out, or whom the caller impersonates."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)


class StorageReader(Protocol):
    """Reads at the applied head, so a plugin sees every write that was decided before this one.

    What it gives is shared: never change it.
    """

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None: ...

    def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        """All objects, or those of one namespace, in key order."""


@dataclass(slots=True)
class Companion:
    """A second write that stands or falls with the admitted one, in one transaction: ResourceQuota's new usage.

    `object.metadata.resourceVersion` is the version it was computed from; if that has moved on, the whole mutation
    is decided again from the start. Dropped when the mutation is a dry run or turns out to change nothing.
    """

    resource: Resource
    object: Object


@dataclass(slots=True)
class AdmissionRequest:
    """One mutation on its way to the store.

    object: the new state, free to change in `mutate`; None for DELETE. For a subresource with a kind of its own
        (pods/binding, pods/eviction, serviceaccounts/token, scale) it is that kind's object.
    old_object: the stored state for UPDATE and DELETE, shared: never change it; None for CREATE.
    resource, subresource: as in the URL. A status update has subresource `status`.
    name: the object's; empty for CREATE with generateName until the name is made, which is before `mutate`.
    options: CreateOptions, UpdateOptions, PatchOptions or DeleteOptions as a dictionary, possibly empty.
    warnings: texts that reach the client as `Warning:` headers; append to it.
    companions: see `Companion`; append to it.
    storage: reads of other objects (the namespace, its service accounts, its quotas, ...).
    """

    user: User
    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    object: Object | None
    old_object: Object | None
    options: dict[str, Any]
    dry_run: bool
    storage: StorageReader
    warnings: list[str] = field(default_factory=list)
    companions: list[Companion] = field(default_factory=list)


class Plugin(Protocol):
    """One admission plugin. It refuses by raising a `StatusError`; its two methods run inside the mutation and must not wait."""

    @property
    def name(self) -> str:
        """Upstream's name, such as `NamespaceLifecycle`."""

    def mutate(self, request: AdmissionRequest) -> None:
        """May change `request.object`. A plugin that never does leaves this empty."""

    def validate(self, request: AdmissionRequest) -> None:
        """Judges the final object, changes nothing but `warnings` and `companions`."""


class Admission(Protocol):
    """What the registry calls: a chain, or one plugin, or nothing."""

    def mutate(self, request: AdmissionRequest) -> None: ...

    def validate(self, request: AdmissionRequest) -> None: ...


class AdmissionChain:
    """Plugins in their order: all that mutate, then all that validate. The first refusal ends it."""

    def __init__(self, plugins: Sequence[Plugin] = ()) -> None:
        self.plugins = tuple(plugins)
        self._mutators = _those_that_define("mutate", self.plugins)
        self._validators = _those_that_define("validate", self.plugins)

    def mutate(self, request: AdmissionRequest) -> None:
        for plugin in self._mutators:
            plugin.mutate(request)

    def validate(self, request: AdmissionRequest) -> None:
        for plugin in self._validators:
            plugin.validate(request)


class BasePlugin:
    """A plugin that admits everything. Derive from it: the chain skips the methods that a plugin leaves as they are here."""

    name = ""

    def mutate(self, request: AdmissionRequest) -> None:
        return

    def validate(self, request: AdmissionRequest) -> None:
        return


def _those_that_define(method: str, plugins: Iterable[Plugin]) -> tuple[Plugin, ...]:
    inherited = getattr(BasePlugin, method)
    return tuple(plugin for plugin in plugins if getattr(type(plugin), method, None) is not inherited)
