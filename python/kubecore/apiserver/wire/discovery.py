"""Discovery: which groups, versions and resources there are, in the old form and in the aggregated one.

Everything is built once from the served rows of the fact table.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#api-discovery (KEP-3352)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from kubecore.api.scheme import Resource, Subresource
from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import JSON, Response, accepts, encode_json, header, of_json
from kubecore.apiserver.wire.served import ServedResources

AGGREGATED_GROUP, AGGREGATED_KIND = "apidiscovery.k8s.io", "APIGroupDiscoveryList"
AGGREGATED_VERSIONS = ("v2", "v2beta1")

Json = dict[str, Any]


class Discovery:
    """Answers `/api`, `/apis` and what is below them, down to the resources of a version."""

    def __init__(self, served: ServedResources, *, server_address: str = "") -> None:
        """server_address: host:port, as `/api` tells it to old clients."""
        self._served = served
        self._aggregated: dict[tuple[bool, str], tuple[bytes, str]] = {}
        self._pages: dict[str, Json] = dict(self._make_pages(server_address))

    def paths(self) -> list[str]:
        return list(self._pages)

    def answer(self, call: Call) -> Response | None:
        """None: no such group or version."""
        path = "/" + call.path.strip("/")
        if path in ("/api", "/apis"):
            version = _aggregated_version(call)
            if version is not None:
                return self._answer_aggregated(call, path == "/api", version)
            return of_json(self._pages[path], headers=(("vary", "Accept"),))
        page = self._pages.get(path)
        return None if page is None else of_json(page)

    # ── the old form ──

    def _make_pages(self, server_address: str) -> Iterator[tuple[str, Json]]:
        groups = self._served.groups()
        yield "/api", _api_versions(self._served.versions(""), server_address)
        for version in self._served.versions(""):
            # The core group's list has no apiVersion, as upstream's has none.
            yield (
                f"/api/{version}",
                {
                    "kind": "APIResourceList",
                    "groupVersion": version,
                    "resources": self._resources("", version),
                },
            )
        named = [group for group in groups if group]
        yield "/apis", {"kind": "APIGroupList", "apiVersion": "v1", "groups": [self._group(group) for group in named]}
        for group in named:
            yield f"/apis/{group}", {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            for version in self._served.versions(group):
                yield (
                    f"/apis/{group}/{version}",
                    {
                        "kind": "APIResourceList",
                        "apiVersion": "v1",
                        "groupVersion": f"{group}/{version}",
                        "resources": self._resources(group, version),
                    },
                )

    def _group(self, group: str) -> Json:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version} for version in self._served.versions(group)
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resources(self, group: str, version: str) -> list[Json]:
        rows: list[Json] = []
        for resource in self._served.of(group, version):
            if resource.verbs:
                rows.append(_resource_row(resource))
            rows.extend(_subresource_row(resource, subresource) for subresource in resource.subresources)
        return sorted(rows, key=lambda row: str(row["name"]))

    # ── the aggregated form ──

    def _answer_aggregated(self, call: Call, core: bool, version: str) -> Response:
        body, etag = self._aggregated_body(core, version)
        headers = (("etag", etag), ("vary", "Accept"), ("cache-control", "public"))
        if header(call, "if-none-match") == etag:
            return Response(304, b"", "", headers)
        return Response(200, body, f"{JSON};g={AGGREGATED_GROUP};v={version};as={AGGREGATED_KIND}", headers)

    def _aggregated_body(self, core: bool, version: str) -> tuple[bytes, str]:
        made = self._aggregated.get((core, version))
        if made is None:
            groups = [group for group in self._served.groups() if (group == "") == core]
            body = encode_json(
                {
                    "kind": AGGREGATED_KIND,
                    "apiVersion": f"{AGGREGATED_GROUP}/{version}",
                    "metadata": {},
                    "items": [self._aggregated_group(group) for group in groups],
                }
            )
            made = self._aggregated[core, version] = (body, f'"{hashlib.sha512(body).hexdigest().upper()}"')
        return made

    def _aggregated_group(self, group: str) -> Json:
        metadata: Json = {"creationTimestamp": None}
        if group:
            metadata = {"name": group, **metadata}
        versions = [
            {
                "version": version,
                "resources": [_aggregated_resource(resource) for resource in self._served.of(group, version)],
                "freshness": "Current",
            }
            for version in self._served.versions(group)
        ]
        return {"metadata": metadata, "versions": versions}


def _aggregated_version(call: Call) -> str | None:
    """The version of the aggregated form that the client prefers to the old form."""
    for media_type, parameters in accepts(call):
        if media_type not in (JSON, "application/*", "*/*"):
            continue
        if not parameters.get("as"):
            return None
        wanted = (parameters.get("g"), parameters.get("as"))
        if wanted == (AGGREGATED_GROUP, AGGREGATED_KIND) and parameters.get("v") in AGGREGATED_VERSIONS:
            return parameters["v"]
    return None


def _api_versions(versions: list[str], server_address: str) -> Json:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    return {"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": addresses}


def _resource_row(resource: Resource) -> Json:
    row: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": sorted(resource.verbs),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    return row


def _subresource_row(resource: Resource, subresource: Subresource) -> Json:
    row: Json = {"name": f"{resource.plural}/{subresource.name}", "singularName": "", "namespaced": resource.namespaced}
    if (subresource.group, subresource.version) != (resource.group, resource.version):
        row["group"] = subresource.group
        row["version"] = subresource.version
    row["kind"] = subresource.kind
    row["verbs"] = sorted(subresource.verbs)
    return row


def _aggregated_resource(resource: Resource) -> Json:
    row: Json = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": sorted(resource.verbs),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    if resource.subresources:
        row["subresources"] = [
            {
                "subresource": subresource.name,
                "responseKind": {
                    "group": subresource.group,
                    "version": subresource.version,
                    "kind": subresource.kind,
                },
                "verbs": sorted(subresource.verbs),
            }
            for subresource in resource.subresources
        ]
    return row
