"""One request inside the registry: who asks, what for, and how to answer. Made by `Registry`, used by verbs and subresources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kubecore.api import codec, scheme
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry import answers, requests
from kubecore.apiserver.registry.admission import User
from kubecore.apiserver.registry.answers import Form, Result
from kubecore.apiserver.registry.call import Call
from kubecore.apiserver.registry.environment import Environment, Write, decode_json, encode_json
from kubecore.apiserver.registry.generic import GenericStore
from kubecore.apiserver.registry.hooks import VirtualTable


@dataclass(slots=True)
class Request:
    """`resource`: as the URL names it; `store`: where its objects are kept, maybe in another version."""

    user: User
    call: Call
    resource: Resource
    store: GenericStore
    form: Form
    environment: Environment
    store_of: Callable[[Resource], GenericStore]
    virtual: VirtualTable
    warnings: list[str] = field(default_factory=list)

    def write(self, options: requests.Options) -> Write:
        return Write(
            user=self.user,
            subresource=self.call.subresource,
            namespace=self.call.namespace,
            name=self.call.name,
            dry_run=options.dry_run,
            options=options.given,
            warnings=self.warnings,
            group=self.call.group,
        )

    def read_object(self, options: requests.Options) -> Object:
        """The body as an object of the URL's resource, in the version that is stored."""
        resource = self.resource
        obj = requests.read_object(self.call, resource.group, resource.version, resource.kind, options, self.warnings)
        return self.to_stored(obj)

    @property
    def converts(self) -> bool:
        """Whether the URL's version is not the stored one."""
        stored = self.store.resource
        return (self.resource.group, self.resource.version) != (stored.group, stored.version)

    def to_stored(self, obj: Object) -> Object:
        if not self.converts:
            return obj
        stored = self.store.resource
        converted: Object = decode_json(codec.convert(encode_json(obj), stored.group, stored.version))
        return converted

    def to_asked(self, value: bytes) -> bytes:
        return codec.convert(value, self.resource.group, self.resource.version) if self.converts else value

    def answer(self, value: bytes, status: int = 200) -> Result:
        """With an object of the URL's resource, as stored."""
        return answers.of_object(
            self.call,
            self.form,
            status,
            self.to_asked(value),
            printed_as=(self.resource.group, self.resource.version, self.resource.plural),
            warnings=self.warnings,
            now_seconds=self.environment.clock.now(),
        )

    def answer_other(self, value: bytes, status: int = 200, *, printed_as: answers.Printed | None = None) -> Result:
        """With something that is not an object of the URL's resource: a Status, a Scale, a TokenRequest."""
        return answers.of_object(
            self.call,
            self.form,
            status,
            value,
            printed_as=printed_as,
            warnings=self.warnings,
            now_seconds=self.environment.clock.now(),
        )

    def store_for(self, group: str, version: str, plural: str) -> GenericStore:
        return self.store_of(scheme.resource(group, version, plural))
