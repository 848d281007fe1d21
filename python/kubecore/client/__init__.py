"""How loops and programs talk to an API server, in process or over HTTPS.

A `Transport` carries requests of one identity; a `Client` gives it verbs; a `Reflector` follows a collection; an
`Informer` keeps it at hand; a `WorkQueue` holds the keys that changed. Nothing here polls.
"""

from kubecore.client.backoff import Backoff
from kubecore.client.client import Client, ObjectList, RawObjectList
from kubecore.client.events import EventRecorder
from kubecore.client.informer import Handler, Informer, RawInformer
from kubecore.client.kubeconfig import ClientConfig, KubeconfigError
from kubecore.client.leader_election import ElectionTiming, LeaderElection
from kubecore.client.reflector import Reflector
from kubecore.client.transport import Request, Response, StreamRefused, Transport, TransportError, WatchEvent
from kubecore.client.workqueue import Shutdown, WorkQueue

__all__ = [
    "Backoff",
    "Client",
    "ClientConfig",
    "ElectionTiming",
    "EventRecorder",
    "Handler",
    "Informer",
    "KubeconfigError",
    "LeaderElection",
    "ObjectList",
    "RawInformer",
    "RawObjectList",
    "Reflector",
    "Request",
    "Response",
    "Shutdown",
    "StreamRefused",
    "Transport",
    "TransportError",
    "WatchEvent",
    "WorkQueue",
]
