"""SPDY/3.1 as Kubernetes uses it: streams over one connection for exec, attach and port-forward of clients that know no WebSocket.

frames     bytes ⇄ frames, no socket
headers    the compressed header blocks
session    streams over a pair of pipes
"""

from kubecore.kubelet.server.spdy.session import Duplex, Session, Stream

__all__ = ["Duplex", "Session", "Stream"]
