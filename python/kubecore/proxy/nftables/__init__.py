"""Services as nftables rules, in the shape of upstream's nftables mode. See docs/design/proxy.md."""

from kubecore.proxy.nftables.backend import NftablesBackend, NftablesOptions

__all__ = ["NftablesBackend", "NftablesOptions"]
