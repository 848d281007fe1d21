"""The kubelet's own HTTPS port (10250): who may ask, logs, exec, attach, port-forward, and what other rooms mount there.

host       what the server needs to know of its kubelet
"""

from kubecore.kubelet.server.host import Host

__all__ = ["Host"]
