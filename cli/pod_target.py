"""Which pod and container a person means: `web`, `pod/web`, `deploy/web`, `service/web`, and `-c`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from kubecore.api import scheme
from kubecore.api.meta import Object
from kubecore_cli import resources
from kubecore_cli.session import Session

PODS = scheme.resource("", "v1", "pods")
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class PodTarget:
    """`owner`: what was named, if it was no pod."""

    pod: Object
    owner: Object | None = None

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    def path(self, subresource: str) -> str:
        metadata = self.pod["metadata"]
        return PODS.path(metadata["namespace"], metadata["name"], subresource)

    def container(self, asked: str) -> str:
        """The container that is meant; says which one it took if there are several."""
        if asked:
            return asked
        names = [each["name"] for each in self.pod["spec"]["containers"]]
        chosen = (self.pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
        if chosen in names:
            return str(chosen)
        if len(names) > 1:
            others = [each["name"] for each in self.pod["spec"].get("initContainers") or ()]
            told = ", ".join([*names, *(f"{name} (init)" for name in others)])
            click.echo(f'Defaulted container "{names[0]}" out of: {told}', err=True)
        return str(names[0])


async def find(session: Session, named: str) -> PodTarget:
    """Raises NotFound, and click.ClickException if what is named has no pods."""
    word, slash, name = named.partition("/")
    if not slash:
        return PodTarget(await session.client.get(PODS, session.namespace, named))
    resource = resources.find(word)
    if resource.plural == "pods":
        return PodTarget(await session.client.get(PODS, session.namespace, name))
    owner = await session.client.get(resource, session.namespace, name)
    selector = _selector(owner)
    if not selector:
        raise click.ClickException(f"{word}/{name} selects no pods")
    pods = (await session.client.list(PODS, session.namespace, label_selector=selector)).items
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    if not pods:
        raise click.ClickException(f"no pods found for {word}/{name}")
    return PodTarget((running or pods)[0], owner)


def _selector(owner: Object) -> str:
    given = owner.get("spec", {}).get("selector") or {}
    labels = given.get("matchLabels") if "matchLabels" in given or "matchExpressions" in given else given
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())
