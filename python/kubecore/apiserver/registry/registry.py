"""The registry's front: takes one authorised request from the wire, gives one answer.

Mutations come here one at a time (the caller holds the mutation lock), and those reads that the wire does not serve itself.
"""

from __future__ import annotations

import ipaddress
import random as randomness
from collections.abc import Sequence

from kubecore.api import errors, scheme
from kubecore.api.clock import Clock
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry import answers, component_status, kinds, strategies, subresources, verbs
from kubecore.apiserver.registry.admission import Admission, User
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.backend import Backend
from kubecore.apiserver.registry.call import Call
from kubecore.apiserver.registry.environment import Environment, Reader
from kubecore.apiserver.registry.generic import GenericStore
from kubecore.apiserver.registry.hooks import EscalationChecker, TokenIssuer, VirtualTable
from kubecore.apiserver.registry.request import Request
from kubecore.apiserver.storage.protocol import Storage, StorageUnavailable, ValueTooLarge

SERVICE_CIDR = "10.96.0.0/12"
NODE_PORTS = range(30000, 32768)
KUBELET_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
"""Addresses before names, as most installations tell upstream's server: names of nodes are rarely known to any DNS."""
_MUTATIONS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_OF_COLLECTIONS = frozenset({"create", "list", "watch", "deletecollection"})


class Registry:
    """Every built-in resource of the fact table."""

    def __init__(
        self,
        *,
        storage: Storage,
        admission: Admission,
        clock: Clock,
        random: randomness.Random,
        service_cidr: str = SERVICE_CIDR,
        node_ports: range = NODE_PORTS,
        token_issuer: TokenIssuer | None = None,
        escalation: EscalationChecker | None = None,
        virtual: VirtualTable | None = None,
        kubelet_address_types: Sequence[str] = KUBELET_ADDRESS_TYPES,
    ) -> None:
        """service_cidr: one or two networks with a comma between. virtual: see `hooks.VirtualTable`. kubelet_address_types: of a
        node's addresses, the first of these types is where its kubelet is asked."""
        self.environment = Environment(
            storage=storage,
            admission=admission,
            clock=clock,
            random=random,
            reader=Reader(storage),
            service_networks=tuple(ipaddress.ip_network(text.strip()) for text in service_cidr.split(",")),
            node_ports=node_ports,
            token_issuer=token_issuer,
            escalation=escalation,
            kubelet_address_types=tuple(kubelet_address_types),
        )
        self._virtual = virtual or {}
        self._stores: dict[tuple[str, str, str], GenericStore] = {}

    def handle(self, user: User, call: Call) -> Result | Backend:
        """Never raises a `StatusError`: a refusal is an answer too. A Backend: somebody else answers."""
        warnings: list[str] = []
        try:
            return self._answer(user, call, warnings)
        except errors.StatusError as error:
            return answers.of_status(call, error, warnings)
        except ValueTooLarge as error:
            return answers.of_status(call, errors.RequestEntityTooLarge(f"Request entity too large: {error}"))
        except StorageUnavailable as error:
            return answers.of_status(call, errors.ServiceUnavailable(str(error)))

    def store_of(self, resource: Resource) -> GenericStore:
        """The store of a resource, whichever of its versions is named."""
        store = self._stores.get(resource.storage)
        if store is None:
            stored = scheme.by_plural().get(resource.storage, resource)
            store = self._stores[resource.storage] = GenericStore(strategies.make(stored, self.environment))
        return store

    def _answer(self, user: User, call: Call, warnings: list[str]) -> Result | Backend:
        resource = scheme.by_plural().get((call.group, call.version, call.resource))
        if resource is None:
            raise errors.NotFound("the server could not find the requested resource")
        # Who answers a stream says in which form: that of a log is text.
        streamed = (resource.group, resource.plural, call.subresource) in subresources.STREAMED
        form = answers.PLAIN if streamed else answers.form_of(call, tabular=resource.verbs != ("create",))
        request = Request(
            user=user,
            call=call,
            resource=resource,
            store=self.store_of(resource),
            form=form,
            environment=self.environment,
            store_of=self.store_of,
            virtual=self._virtual,
            warnings=warnings,
        )
        if not _is_in_its_scope(call, resource):
            raise errors.NotFound("the server could not find the requested resource")
        row = (resource.group, resource.plural)
        if call.verb in _MUTATIONS and row in kinds.REFUSED:
            raise _not_supported(call, resource, kinds.REFUSED[row])
        # A method that is no verb, such as OPTIONS, fits only where whoever is behind the path decides.
        if (not call.verb and call.subresource != "proxy") or not _fits_the_path(call, resource):
            raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
        if call.subresource:
            return subresources.answer(request)
        if call.verb == "create":
            if row in subresources.CREATED_ONLY:
                return subresources.CREATED_ONLY[row](request)
            if row in self._virtual:
                return verbs.create_virtual(request)
            if resource.verbs == ("create",):
                raise _not_supported(call, resource, "nobody answers it")  # a review: never stored
        if row == component_status.ROW:
            return component_status.answer(request)
        verb = verbs.VERBS.get(call.verb)
        if verb is None or call.verb not in resource.verbs:
            raise _not_supported(call, resource)
        return verb(request)


def _is_in_its_scope(call: Call, resource: Resource) -> bool:
    """A path below a namespace leads to what lives in it and to nothing else: who may do everything in one namespace must not
    reach a cluster role by it. A namespace's own path names it twice, as namespace and as name."""
    if resource.namespaced:
        return bool(call.namespace) or call.verb in _OF_COLLECTIONS or call.verb in _MUTATIONS
    is_itself = (resource.group, resource.plural) == ("", "namespaces") and call.name == call.namespace
    return not call.namespace or is_itself


def _fits_the_path(call: Call, resource: Resource) -> bool:
    """A write of a namespaced object names its namespace; what touches one object names it, a write of many does not. A list
    has a name if its selector fixes one."""
    if call.verb in _MUTATIONS and resource.namespaced and not call.namespace:
        return False
    if call.subresource:
        return bool(call.name)
    return call.verb in ("list", "watch") or bool(call.name) is (call.verb not in _OF_COLLECTIONS)


def _not_supported(call: Call, resource: Resource, why: str = "") -> errors.MethodNotAllowed:
    message = f'{call.verb} is not supported on resources of kind "{resource.qualified}"'
    return errors.MethodNotAllowed(
        f"{message}: {why}" if why else message, details={"group": resource.group, "kind": resource.plural}
    )
