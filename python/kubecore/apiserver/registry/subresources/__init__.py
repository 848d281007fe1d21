"""Subresources: (group, plural, subresource) → who answers. What is in no table is a part of the object that the
resource's strategy knows how to update (`status`, `resize`, `finalize`, ...)."""

from __future__ import annotations

from collections.abc import Callable

from kubecore.api import errors
from kubecore.apiserver.registry import verbs
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.backend import Backend
from kubecore.apiserver.registry.request import Request
from kubecore.apiserver.registry.subresources import binding, eviction, proxies, scale, streams, token

Handler = Callable[[Request], Result | Backend]

HANDLERS: dict[tuple[str, str, str], Handler] = {
    ("", "pods", "binding"): binding.create,
    ("", "pods", "eviction"): eviction.create,
    ("", "serviceaccounts", "token"): token.create,
    **{(group, plural, "scale"): scale.answer for group, plural in scale.SCALABLE},
    ("", "pods", "log"): streams.log,
    ("", "pods", "exec"): streams.exec_or_attach,
    ("", "pods", "attach"): streams.exec_or_attach,
    ("", "pods", "portforward"): streams.portforward,
    **{("", plural, "proxy"): proxies.answer for plural in ("pods", "services", "nodes")},
}

STREAMED = frozenset(
    {
        (group, plural, name)
        for group, plural, name in HANDLERS
        if name in ("log", "exec", "attach", "portforward", "proxy")
    }
)
"""Somebody else answers these, in whatever form."""

CREATED_ONLY: dict[tuple[str, str], Handler] = {("", "bindings"): binding.create}
"""Resources of which only `create` exists, and which write something else."""


def answer(request: Request) -> Result | Backend:
    call, resource = request.call, request.resource
    served = next((each for each in resource.subresources if each.name == call.subresource), None)
    handler = HANDLERS.get((resource.group, resource.plural, call.subresource))
    if served is None or (handler is None and call.subresource not in request.store.strategy.updates):
        raise errors.NotFound("the server could not find the requested resource")
    # What was authorised is the verb: a token made by a GET would be one that nobody was allowed to make.
    if call.verb not in served.verbs and not (call.subresource == "proxy" and call.method == "OPTIONS"):
        raise errors.MethodNotAllowed(
            f'{call.verb} is not supported on resources of kind "{resource.qualified}/{call.subresource}"'
        )
    return handler(request) if handler is not None else verbs.VERBS[call.verb](request)
