"""From what a person types (`po`, `deploy/web`, `Deployment.apps`) to a Resource. Knows the fact table only, so it costs no request."""

from __future__ import annotations

from dataclasses import dataclass

import click

from kubecore.api import scheme
from kubecore.api.meta import Object, name_of
from kubecore.api.scheme import Resource


@dataclass(frozen=True, slots=True)
class Target:
    """One thing a command is about; no name means all of the resource."""

    resource: Resource
    name: str = ""


def find(word: str) -> Resource:
    """As `scheme.find`; raises click.ClickException in kubectl's words."""
    resource = scheme.find(word)
    if resource is None:
        raise click.ClickException(f'the server doesn\'t have a resource type "{word}"')
    return resource


def category(word: str) -> list[Resource]:
    """The resources of a category such as `all`; empty if there is no such category."""
    return [r for r in scheme.resources() if r.served and word in r.categories]


def parse(arguments: tuple[str, ...]) -> list[Target]:
    """`pods`, `pods a b`, `pods,services`, `pod/a svc/b`, `all`."""
    if not arguments:
        raise click.UsageError("You must specify the type of resource, for example `pods`.")
    if any("/" in argument for argument in arguments):
        return [_slashed(argument) for argument in arguments]
    words, names = arguments[0].split(","), arguments[1:]
    found: list[Resource] = []
    for word in words:
        found.extend(category(word) or [find(word)])
    if not names:
        return [Target(resource) for resource in found]
    return [Target(resource, name) for resource in found for name in names]


def _slashed(argument: str) -> Target:
    word, slash, name = argument.partition("/")
    if not slash or not name or "/" in name:
        raise click.UsageError(
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form"
        )
    return Target(find(word), name)


def manifest_name(manifest: Object) -> str:
    """How kubectl names an object: `service/mysql`, `deployment.apps/web`."""
    group, _, _ = str(manifest.get("apiVersion", "")).rpartition("/")
    kind = str(manifest.get("kind", "")).lower()
    return f"{kind}.{group}/{name_of(manifest)}" if group else f"{kind}/{name_of(manifest)}"
