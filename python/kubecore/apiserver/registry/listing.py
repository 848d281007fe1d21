"""Lists for what the wire does not serve itself: `deletecollection`, and lists in YAML."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kubecore.api import codec
from kubecore.api.errors import BadRequest
from kubecore.api.meta import Object, labels_of
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.strategy import dig
from kubecore.apiserver.storage.protocol import Storage, Stored

_TERM = re.compile(r"\s*([^=!,\s]+)\s*(==|!=|=)\s*((?:\\.|[^,\\])*)")
_RENAMED = {"source": ("source", "component")}


def select(
    storage: Storage,
    resource: Resource,
    namespace: str,
    *,
    label_selector: str = "",
    field_selector: str = "",
    only: Callable[[Stored], bool] | None = None,
) -> tuple[list[Stored], int]:
    """What matches, in key order, and the revision read at. `only`: what is looked at in the first place, judged by its encoded
    value. Raises BadRequest if a selector is wrong."""
    if label_selector:
        try:
            codec.validate_label_selector(label_selector)
        except ValueError as error:
            raise BadRequest(str(error)) from error
    terms = _field_terms(resource, field_selector)
    page = storage.list(resource.key_prefix(namespace))
    items = page.items if only is None else [stored for stored in page.items if only(stored)]
    if not label_selector and not terms:
        return items, page.revision
    return [stored for stored in items if _matches(stored.object, label_selector, terms)], page.revision


def _field_terms(resource: Resource, selector: str) -> list[tuple[str, bool, str]]:
    """(path, whether it must be equal, value)."""
    if not selector:
        return []
    problem = codec.field_selector_supported(resource.group, resource.version, resource.plural, selector)
    if problem is not None:
        raise BadRequest(problem)
    found = _TERM.findall(selector)
    return [(path, operator != "!=", re.sub(r"\\(.)", r"\1", value)) for path, operator, value in found]


def _matches(obj: Object, label_selector: str, terms: list[tuple[str, bool, str]]) -> bool:
    for path, equal, wanted in terms:
        parts: Any = _RENAMED.get(path) or path.split(".")
        value = dig(obj, *parts)
        text = "true" if value is True else "false" if value is False else str(value if value is not None else "")
        if (text == wanted) is not equal:
            return False
    return not label_selector or codec.label_selector_matches(label_selector, labels_of(obj))
