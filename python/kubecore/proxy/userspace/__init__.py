"""Services by connections of our own, where the kernel's packet filter is not to be had."""

from kubecore.proxy.userspace.backend import UserspaceBackend

__all__ = ["UserspaceBackend"]
