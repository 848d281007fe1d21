"""`kubecore get`: lists and shows objects as the server's Table, as YAML, JSON or names; follows changes with -w."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import click
import yaml

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.client.client import error_of, raise_for_status
from kubecore.client.requests import options
from kubecore.client.transport import StreamRefused
from kubecore_cli import resources
from kubecore_cli.resources import Target
from kubecore_cli.session import Session, command, error_line
from kubecore_cli.tables import TablePrinter

TABLE_ACCEPT = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@command(help="List objects, or show some: `get pods`, `get pod a b`, `get rc/mysql svc/mysql`, `get all`.")
@click.argument("what", nargs=-1)
@click.option("-o", "--output", type=click.Choice(["wide", "yaml", "json", "name"]), help="How to print.")
@click.option("-l", "--selector", default="", metavar="SELECTOR", help="Only objects with these labels.")
@click.option("--field-selector", default="", metavar="SELECTOR", help="Only objects with these field values.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@click.option("-w", "--watch", "watching", is_flag=True, help="Then follow the changes.")
@click.option("--watch-only", is_flag=True, help="Follow the changes without listing first.")
@click.option("--no-headers", is_flag=True, help="Leave out the header line.")
@click.option("--show-labels", is_flag=True, help="Labels as the last column.")
@click.option("--ignore-not-found", is_flag=True, help="An absent object is no error.")
async def get(
    session: Session,
    what: tuple[str, ...],
    output: str | None,
    selector: str,
    field_selector: str,
    all_namespaces: bool,
    watching: bool,
    watch_only: bool,
    no_headers: bool,
    show_labels: bool,
    ignore_not_found: bool,
) -> int:
    targets = resources.parse(what)
    query = options(label_selector=selector, field_selector=field_selector)
    getter = _Getter(session, query, all_namespaces=all_namespaces)
    if watching or watch_only:
        if len({target.resource for target in targets}) > 1:
            raise click.UsageError("you may only specify a single resource type with --watch")
        return await _watch(getter, targets[0], output, list_first=not watch_only, headers=not no_headers)
    if output in ("yaml", "json", "name"):
        return await _objects(getter, targets, output, ignore_not_found=ignore_not_found)
    return await _tables(
        getter,
        targets,
        wide=output == "wide",
        headers=not no_headers,
        labels=show_labels,
        ignore_not_found=ignore_not_found,
    )


class _Getter:
    """The requests of one `get`."""

    def __init__(self, session: Session, query: list[tuple[str, str]], *, all_namespaces: bool) -> None:
        self.session = session
        self.all_namespaces = all_namespaces
        self._query = query

    async def fetch(self, target: Target, accept: str) -> dict[str, Any]:
        """The object or list, or its Table. Raises StatusError."""
        namespace = self.session.scope(target.resource, all_namespaces=self.all_namespaces)
        path = target.resource.path(namespace, target.name)
        query = [] if target.name else self._query
        response = await self.session.client.transport.request("GET", path, query, [("accept", accept)])
        raise_for_status(response)
        body: dict[str, Any] = json.loads(response.body)
        return body

    async def follow(
        self, target: Target, accept: str, resource_version: str
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """(type, Table or object) of each change; ends only with the server's error."""
        namespace = self.session.scope(target.resource, all_namespaces=self.all_namespaces)
        path = target.resource.path(namespace)
        query = [*self._query, *options(watch=True, resource_version=resource_version)]
        if target.name:
            query.append(("fieldSelector", f"metadata.name={target.name}"))
        try:
            async for batch in self.session.client.transport.stream(path, query, [("accept", accept)]):
                for event_type, body in batch:
                    value = json.loads(body)
                    if event_type == "ERROR":
                        raise errors.from_status(value)
                    yield event_type, value
        except StreamRefused as refused:
            raise error_of(refused.response) from refused


async def _tables(
    getter: _Getter, targets: Sequence[Target], *, wide: bool, headers: bool, labels: bool, ignore_not_found: bool
) -> int:
    code, shown = 0, 0
    several = len({target.resource for target in targets}) > 1
    printers: dict[str, TablePrinter] = {}
    for target in targets:
        try:
            table = await getter.fetch(target, TABLE_ACCEPT)
        except errors.StatusError as error:
            code = _report(error, ignore_not_found=ignore_not_found) or code
            continue
        if not table.get("rows"):
            continue
        resource = target.resource
        if resource.qualified not in printers:
            if several and printers:
                click.echo()
            printers[resource.qualified] = TablePrinter(
                wide=wide,
                headers=headers,
                namespace=getter.all_namespaces and resource.namespaced,
                kind_prefix=_prefix(target) if several else "",
                labels=labels,
            )
        shown += len(table["rows"])
        for line in printers[resource.qualified].lines(table):
            click.echo(line)
    if not shown and not code and not ignore_not_found:
        namespaced = any(target.resource.namespaced for target in targets)
        place = f" in {getter.session.namespace} namespace" if namespaced and not getter.all_namespaces else ""
        click.echo(f"No resources found{place}.", err=True)
    return code


async def _objects(getter: _Getter, targets: Sequence[Target], output: str, *, ignore_not_found: bool) -> int:
    code = 0
    found: list[Object] = []
    for target in targets:
        try:
            value = await getter.fetch(target, "application/json")
        except errors.StatusError as error:
            code = _report(error, ignore_not_found=ignore_not_found) or code
            continue
        items = [value] if target.name else value.get("items") or []
        for item in items:
            found.append({"apiVersion": target.resource.api_version, "kind": target.resource.kind, **item})
            if output == "name":
                click.echo(f"{_prefix(target)}/{item['metadata']['name']}")
    if output == "name" or (code and not found):
        return code
    single = len(targets) == 1 and bool(targets[0].name)
    if single and not found:
        return code
    click.echo(render(found[0] if single else as_list(found), output), nl=False)
    return code


async def _watch(getter: _Getter, target: Target, output: str | None, *, list_first: bool, headers: bool) -> int:
    as_table = output in (None, "wide")
    printer = TablePrinter(
        wide=output == "wide", headers=headers, namespace=getter.all_namespaces and target.resource.namespaced
    )
    accept = TABLE_ACCEPT if as_table else "application/json"

    def show(value: dict[str, Any]) -> None:
        if as_table:
            for line in printer.lines(value):
                click.echo(line)
        elif output == "name":
            click.echo(f"{_prefix(target)}/{value['metadata']['name']}")
        else:
            click.echo(render(value, str(output)), nl=False)
        sys.stdout.flush()

    value = await getter.fetch(target, accept)
    if list_first:
        for item in [value] if as_table or target.name else value.get("items") or ():
            show(item)
    async for event_type, changed in getter.follow(target, accept, value["metadata"].get("resourceVersion", "")):
        if event_type != "BOOKMARK":
            show(changed)
    return 0


def _prefix(target: Target) -> str:
    resource = target.resource
    return f"{resource.singular}.{resource.group}" if resource.group else resource.singular


def _report(error: errors.StatusError, *, ignore_not_found: bool) -> int:
    if ignore_not_found and isinstance(error, errors.NotFound):
        return 0
    click.echo(error_line(error), err=True)
    return 1


def as_list(items: Sequence[Object]) -> Object:
    return {"apiVersion": "v1", "items": list(items), "kind": "List", "metadata": {"resourceVersion": ""}}


def render(value: Any, output: str) -> str:
    """As YAML or JSON text, keys sorted, as kubectl prints them."""
    if output == "json":
        return json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False) + "\n"
    text: str = yaml.dump(
        value, Dumper=KubectlDumper, default_flow_style=False, allow_unicode=True, width=YAML_LINE_CHARACTERS_MAX
    )
    return text


YAML_LINE_CHARACTERS_MAX = 1 << 30
"""Lines are never folded."""


class KubectlDumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes as kubectl: several lines as a block, what would be read as another type in double quotes."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        tag = "tag:yaml.org,2002:str"
        style = None
        if "\n" in text:
            style = "|"
        elif self.resolve(yaml.ScalarNode, text, (True, False)) != tag:
            style = '"'
        node: yaml.ScalarNode = self.represent_scalar(tag, text, style=style)
        return node


KubectlDumper.add_representer(str, KubectlDumper.represent_text)
