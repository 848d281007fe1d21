"""The kubelet's own HTTPS port (10250): who may ask, logs, exec, attach, port-forward, and what other rooms mount there.

host                          what the server needs of its kubelet
server                        the listener; authentication, authorization, serving: who may ask, and with which certificate
containers, pages             which path leads where
logs, log_lines               /containerLogs
remotecommand, command        exec and attach: how they come in, and what they do
portforward                   connections to a pod's ports
websocket, upgrade, spdy/     what carries them; inbox: a bounded pipe
"""

from kubecore.kubelet.server.host import Host, Page, Pages
from kubecore.kubelet.server.server import KubeletServer

__all__ = ["Host", "KubeletServer", "Page", "Pages"]
