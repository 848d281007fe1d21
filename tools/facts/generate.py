#!/usr/bin/env python3
"""Makes the fact table of one Kubernetes minor: what every built-in kind, field and resource is, without prose.

In: pinned Go modules. `k8s.io/kubernetes` brings the published OpenAPI and discovery documents (definitions, required fields,
list types; resources, verbs, short names, categories, subresources). The program in `types/` prints what only the Go types
say (field order, pointers, omission, patch strategies, protobuf numbers).
Out: `rust_core/object/facts/<minor>/table.json`, one definition or resource a line. Format: docs/design/facts.md. And
for the tests, in `rust_core/object/tests/data`, every kind as Go writes it in protobuf and JSON, and what kube-apiserver's own
decoder makes of many bodies.

    python tools/facts/generate.py            # write it
    python tools/facts/generate.py --check    # compare with what is committed
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

KUBERNETES = "1.35.0"
MINOR = "1.35"
HERE = Path(__file__).resolve().parent
CRATE = HERE.parents[1] / "rust_core" / "object"
TABLE = CRATE / "facts" / MINOR / "table.json"
FIXTURES = CRATE / "tests" / "data" / "built_in_kinds.jsonl.gz"
ANSWERS = CRATE / "tests" / "data" / "upstream_answers.jsonl.gz"
# Not in kube-apiserver's own scheme, or with the clock as their only default.
NOT_ASKED = ("CustomResourceDefinition", "APIService", "DeviceTaintRule")
# Of the made table. A test compares: whoever edits the table by hand is sent here.
CHECKSUM = HERE / "table.sha256"

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# Definitions that the OpenAPI document leaves out although the server reads or writes them: options, tables, lists of APIs.
UNPUBLISHED_PACKAGES = (META, "io.k8s.api.core.v1.", "io.k8s.apimachinery.pkg.version.")
# Objects of these resources are kept under another one, so that both show the same objects.
STORED_ELSEWHERE = {("events.k8s.io", "events"): ["", "v1", "events"]}
FORMATS = {
    "int32": "int32",
    "int64": "int64",
    "float64": "double",
    "bytes": "byte",
    "uint16": "int32",
}
VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
STABILITY = {None: 2, "beta": 1, "alpha": 0}

Json = dict[str, Any]


def run(*command: str) -> str:
    return subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout


def kubernetes_documents() -> Path:
    """The `api` folder of the pinned k8s.io/kubernetes module."""
    return Path(json.loads(run("go", "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"))["Dir"]) / "api"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def version_rank(version: str) -> tuple[int, int, int]:
    """Orders versions as Kubernetes does: v1 before v1beta2 before v1beta1 before v1alpha1."""
    match = VERSION.fullmatch(version)
    assert match, version
    major, stage, minor = match.groups()
    return STABILITY[stage], int(major), int(minor or 0)


# ─────────────────────────────── definitions ───────────────────────────────


def usual_go_type(kind: str) -> str:
    """How Go names a type of the table, unless the field has a named type such as `v1.PullPolicy`."""
    if kind.startswith("[]"):
        return "[]" + usual_go_type(kind[2:])
    if kind.startswith("{}"):
        return "map[string]" + usual_go_type(kind[2:])
    if "." in kind:
        return ".".join(kind.split(".")[-2:])
    return {"bytes": "[]uint8"}.get(kind, kind)


def go_field(field: Json) -> Json:
    """Leaves out what follows from the rest of the row."""
    row = dict(field)
    if row["goType"] == usual_go_type(row["type"]):
        del row["goType"]
    return row


def published_field(field: Json, published: Json, required: bool) -> Json:
    """Adds what the OpenAPI document knows about one field."""
    row = go_field(field)
    if required:
        row["required"] = True
    if list_type := published.get("x-kubernetes-list-type"):
        row["listType"] = list_type
    if keys := published.get("x-kubernetes-list-map-keys"):
        row["listMapKeys"] = keys
    if map_type := published.get("x-kubernetes-map-type"):
        row["mapType"] = map_type
    if (text := published.get("format")) and text != FORMATS.get(field["type"]):
        row["format"] = text
    for ours, theirs in (
        ("patchStrategy", "x-kubernetes-patch-strategy"),
        ("patchMergeKey", "x-kubernetes-patch-merge-key"),
    ):
        if field.get(ours) != published.get(theirs):
            raise SystemExit(
                f"{field['name']}: {theirs} is {published.get(theirs)!r}, the Go tag says {field.get(ours)!r}"
            )
    return row


def definition_row(definition: Json, published: Json | None, defaults: Json) -> Json:
    row: Json = {"name": definition["name"]}
    if published is None:
        if definition.get("kinds"):
            row["kinds"] = [kind for kind in definition["kinds"] if kind[:2] in (["", "v1"], ["meta.k8s.io", "v1"])]
        row["fields"] = [go_field(field) for field in definition["fields"]]
        row["unpublished"] = True
        return row
    properties = published.get("properties", {})
    names = {field["name"] for field in definition["fields"]}
    if names != set(properties):
        raise SystemExit(f"{definition['name']}: Go and OpenAPI disagree on {sorted(names ^ set(properties))}")
    kinds = published.get("x-kubernetes-group-version-kind", ())
    if kinds:
        row["kinds"] = [[kind["group"], kind["version"], kind["kind"]] for kind in kinds]
    for ours, theirs in (("mapType", "x-kubernetes-map-type"), ("unions", "x-kubernetes-unions")):
        if value := published.get(theirs):
            row[ours] = value
    required = set(published.get("required", ()))
    fields = []
    for field in definition["fields"]:
        made = published_field(field, properties[field["name"]], field["name"] in required)
        default = defaults.get(definition["name"], {}).get("properties", {}).get(field["name"], {}).get("default")
        if default not in ((None,) if field.get("pointer") else (None, "", 0, False, {})):
            made["default"] = default
        fields.append(made)
    row["fields"] = fields
    return row


def definitions(documents: Path) -> list[Json]:
    reflected = json.loads(run("go", "run", "./types"))
    published = read(documents / "openapi-spec" / "swagger.json")["definitions"]
    defaults: Json = {}
    for path in sorted((documents / "openapi-spec" / "v3").glob("*_openapi.json")):
        defaults.update(read(path).get("components", {}).get("schemas", {}))
    rows = []
    for definition in reflected["definitions"]:
        known = published.get(definition["name"])
        if known is not None or definition["name"].startswith(UNPUBLISHED_PACKAGES):
            rows.append(definition_row(definition, known, defaults))
    for name, scalar in reflected["scalars"].items():
        row: Json = {"name": name, "scalar": scalar}
        if name not in published:
            row["unpublished"] = True
        else:
            row["schema"] = {key: value for key, value in published[name].items() if key != "description"}
        rows.append(row)
    missing = set(published) - {row["name"] for row in rows}
    if missing:
        raise SystemExit(f"the Go types lack {sorted(missing)}")
    return sorted(rows, key=lambda row: row["name"])


# ─────────────────────────────── resources ───────────────────────────────


def group_versions(documents: Path) -> list[tuple[str, str, Path]]:
    """Every group version that upstream can serve, in the order of its discovery document."""
    found = [("", "v1", documents / "discovery" / "api__v1.json")]
    for group in read(documents / "discovery" / "apis.json")["groups"]:
        for version in group["versions"]:
            name = version["version"]
            found.append((group["name"], name, documents / "discovery" / f"apis__{group['name']}__{name}.json"))
    return found


def kind_of(row: Json, group: str, version: str) -> Json:
    return {"group": row.get("group", group), "version": row.get("version", version), "kind": row["kind"]}


def resource_rows(group: str, version: str, listed: list[Json]) -> list[Json]:
    resources: dict[str, Json] = {}
    for row in listed:
        if "/" in row["name"]:
            continue
        resources[row["name"]] = {
            "group": group,
            "version": version,
            "plural": row["name"],
            "singular": row["singularName"],
            "kind": row["kind"],
            "namespaced": row["namespaced"],
            "verbs": row["verbs"],
            "shortNames": row.get("shortNames", []),
            "categories": row.get("categories", []),
            "subresources": [],
            # Alpha and beta versions are off unless asked for (KEP-3136).
            "served": version_rank(version)[0] == STABILITY[None],
        }
    for row in listed:
        plural, _, subresource = row["name"].partition("/")
        if subresource:
            made = {"name": subresource, **kind_of(row, group, version), "verbs": row["verbs"]}
            resources[plural]["subresources"].append(made)
    return list(resources.values())


def resources(documents: Path) -> list[Json]:
    rows: list[Json] = []
    for group, version, path in group_versions(documents):
        rows += resource_rows(group, version, read(path)["resources"])
    for row in rows:
        siblings = [
            other["version"] for other in rows if (other["group"], other["plural"]) == (row["group"], row["plural"])
        ]
        best = max(siblings, key=version_rank)
        row["storage"] = STORED_ELSEWHERE.get((row["group"], row["plural"]), [row["group"], best, row["plural"]])
    return rows


# ─────────────────────────────── the file ───────────────────────────────


def lines(rows: list[Json]) -> str:
    return ",\n".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows)


def table() -> bytes:
    documents = kubernetes_documents()
    text = (
        f'{{"minor":"{MINOR}","kubernetes":"{KUBERNETES}",\n'
        f'"definitions":[\n{lines(definitions(documents))}\n],\n'
        f'"resources":[\n{lines(resources(documents))}\n]}}\n'
    )
    return text.encode()


def fixtures(made_table: bytes) -> bytes:
    """The kinds of the table as Go writes them. Lists hold what is there already, so one of them is enough."""
    known = {tuple(kind) for row in json.loads(made_table)["definitions"] for kind in row.get("kinds", ())}
    kept = []
    for line in run("go", "run", "./fixtures").splitlines():
        group, version, kind = json.loads(line)[:3]
        if (group, version, kind) in known and (not kind.endswith("List") or kind == "PodList"):
            kept.append(line)
    return gzip.compress("\n".join(kept).encode(), compresslevel=9, mtime=0)


def answers(made_table: bytes) -> bytes:
    """What kube-apiserver's decoder makes of every kind, empty and hollow, and of the bodies in `upstream/`."""
    asked = [
        json.dumps([row["group"], row["version"], row["kind"], ""])
        for row in json.loads(made_table)["resources"]
        if row["kind"] not in NOT_ASKED
    ]
    asked.append((HERE / "upstream" / "bodies.jsonl").read_text())
    command = ("go", "run", "-C", "upstream", ".")
    made = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, input="\n".join(asked).encode()).stdout
    return gzip.compress(made, compresslevel=9, mtime=0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing them")
    check = parser.parse_args().check
    made_table = table()
    stale = False
    checksum = hashlib.sha256(made_table).hexdigest().encode() + b"\n"
    files = {
        TABLE: made_table,
        CHECKSUM: checksum,
        FIXTURES: fixtures(made_table),
        ANSWERS: answers(made_table),
    }
    for path, made in files.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made)
            print(f"wrote {path} ({len(made):,} bytes)")
        elif content(path) == (gzip.decompress(made) if path.suffix == ".gz" else made):
            print(f"{path.name} is what the sources say")
        else:
            print(f"{path.name} differs: run tools/facts/generate.py")
            stale = True
    return 1 if stale else 0


def content(path: Path) -> bytes:
    """What a file says: compressed bytes differ between versions of zlib."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


if __name__ == "__main__":
    sys.exit(main())
