"""Asks upstream's own code about random objects, patches and selectors, and keeps its answers as test data.

    go build -C tools/objects -o /tmp/objects-upstream . && python tools/objects/cases.py /tmp/objects-upstream

writes rust_core/object/tests/data/upstream_objects.jsonl.gz, which rust_core/object/tests/upstream_objects.rs compares with. Patches whose
upstream result depends on accident (docs/design/objects.md) are left out: their result still has a directive in it.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kinds import Maker, Object

DATA = Path(__file__).parents[2] / "rust_core/object/tests/data/upstream_objects.jsonl.gz"
SEED = 7
TABLES_A_KIND, CONVERSIONS, PATCHES, SELECTORS = 20, 120, 250, 600
TOKENS = [
    "a",
    "b",
    "in",
    "notin",
    "=",
    "==",
    "!=",
    "!",
    "(",
    ")",
    ",",
    ">",
    "<",
    " ",
    "1",
    "x/y",
    "-b",
    "gt",
    "a/b/c",
    "é",
]


def mutated(maker: Maker, kind: str) -> Object:
    """An object to patch: containers, ports, finalizers and owners that come and go."""
    container = lambda name: {  # noqa: E731
        "name": name,
        **maker.perhaps(
            image=lambda: maker.one("a:1", "b:2"),
            env=lambda: [{"name": key, "value": maker.one("1", "2")} for key in maker.some("ABC")],
            ports=lambda: [{"containerPort": port, **maker.perhaps(protocol="TCP")} for port in maker.some([80, 443])],
            args=lambda: maker.some("xyz"),
        ),
    }
    spec = {
        "containers": [container(name) for name in maker.some("abcd") or ["a"]],
        **maker.perhaps(
            tolerations=lambda: [{"key": key} for key in maker.some(["t1", "t2"])], nodeSelector=maker.labels
        ),
    }
    owners = [{"uid": uid, "name": "o", "kind": "X", "apiVersion": "v1"} for uid in maker.some(["u1", "u2"])]
    metadata = {
        "name": "x",
        **maker.perhaps(labels=maker.labels, finalizers=lambda: maker.some(["f1", "f2", "f3"]), ownerReferences=owners),
    }
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}
    if kind == "Service":
        ports = [{"port": port, **maker.perhaps(name="a", targetPort=1)} for port in maker.some([80, 443, 53])]
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": metadata,
            "spec": {"ports": ports, **maker.perhaps(selector=maker.labels)},
        }
    strategy = maker.one({"type": "Recreate"}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    body = {
        "selector": {},
        "template": {"metadata": {}, "spec": spec},
        **maker.perhaps(replicas=maker.number, strategy=strategy),
    }
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body}


def operations(maker: Maker, value: Any) -> list[Object]:
    paths = [""]

    def walk(inner: Any, path: str) -> None:
        paths.append(path)
        pairs = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else []
        for key, member in pairs:
            walk(member, f"{path}/{key}")

    walk(value, "")
    verbs = ("add", "remove", "replace", "move", "copy", "test")
    ends = ("", "", "", "/new", "/-", "/0", "/-1", "/9")
    return [
        {
            "op": maker.one(*verbs),
            "path": maker.one(*paths) + maker.one(*ends),
            "from": maker.one(*paths),
            "value": maker.one(1, "s", {"a": 1}, None),
        }
        for _ in range(maker.random.randint(1, 3))
    ]


def questions(maker: Maker) -> list[Object]:
    asked: list[Object] = []
    for _ in range(TABLES_A_KIND):
        for (group, resource), made in maker.every_kind().items():
            asked.append({"mode": "table", "group": group, "resource": resource, "object": made})
    for _ in range(CONVERSIONS):
        asked.append({"mode": "convert", "version": "autoscaling/v1", "object": maker.autoscaler()})
        asked.append({"mode": "convert", "version": "events.k8s.io/v1", "object": maker.event()})
    for _ in range(PATCHES):
        kind = maker.one("Pod", "Service", "Deployment")
        current = mutated(maker, kind)
        asked.append(
            {"mode": "strategic", "object": current, "original": mutated(maker, kind), "modified": mutated(maker, kind)}
        )
        asked.append({"mode": "merge", "object": current, "patch": mutated(maker, kind)})
        asked.append({"mode": "json", "object": current, "patch": operations(maker, current)})
    for _ in range(SELECTORS):
        selector = "".join(maker.one(*TOKENS) for _ in range(maker.random.randint(0, 8)))
        asked.append(
            {
                "mode": "label",
                "selector": selector,
                "labels": {key: maker.one("1", "b", "") for key in maker.some(["a", "b", "x/y"])},
            }
        )
    return asked


def is_kept(asked: Object, answer: Object) -> bool:
    if "panic" in answer.get("error", "") or "%!w" in answer.get("error", ""):
        return False
    return asked["mode"] != "strategic" or ('"$' not in json.dumps(answer.get("object", "")) and "error" not in answer)


def main() -> None:
    now_seconds = float(int(time.time()))
    asked = questions(Maker(SEED, now_seconds))
    lines = "\n".join(json.dumps(question) for question in asked)
    told = subprocess.run([sys.argv[1]], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    answers = [json.loads(line) for line in told]
    kept = [
        {**question, "now_seconds": now_seconds, "answer": answer}
        for question, answer in zip(asked, answers, strict=True)
        if is_kept(question, answer)
    ]
    text = "".join(json.dumps(case) + "\n" for case in kept)
    DATA.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(kept)} cases in {DATA}")


if __name__ == "__main__":
    main()
