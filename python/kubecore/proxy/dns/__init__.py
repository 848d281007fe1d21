"""Cluster DNS. See docs/design/proxy.md."""

from kubecore.proxy.dns.cluster_dns import DOMAIN, IDENTITY, ClusterDns
from kubecore.proxy.dns.forward import resolvers

__all__ = ["DOMAIN", "IDENTITY", "ClusterDns", "resolvers"]
