"""The pod-template-hash: a short name for the content of a pod template.

Equal templates have equal hashes whatever the order of their keys; a collision count tells apart two templates that
collide. Hashes of different programs need not agree: a Deployment finds its ReplicaSets by comparing templates, never
by hash.
"""

from __future__ import annotations

import hashlib
import json

from kubecore.api.meta import Object

LABEL = "pod-template-hash"

LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Letters that spell no words: those that upstream uses for generated names."""

LENGTH = 10


def template_hash(template: Object, collision_count: int) -> str:
    text = json.dumps([template, collision_count], sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(LETTERS))
        digits.append(LETTERS[digit])
    return "".join(digits)


def without_hash(template: Object) -> Object:
    """The template as the Deployment has it."""
    metadata = dict(template.get("metadata") or {})
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != LABEL}
    metadata.pop("labels", None)
    if labels:
        metadata["labels"] = labels
    metadata.pop("creationTimestamp", None)
    return {"metadata": metadata, "spec": template.get("spec", {})}


def same_template(one: Object, other: Object) -> bool:
    return without_hash(one) == without_hash(other)
