"""Probes of containers: startup, liveness, readiness; by http, tcp, exec and grpc.

manager    one worker for each probe, the settled results;   worker    when, and when it settles
prober     one try, its events;   http, tcp, grpc    how;   outcome    what it said
"""

from kubecore.kubelet.probes.manager import ProbeManager

__all__ = ["ProbeManager"]
