"""The package's own pytest fixtures, also where it is not installed and its plugin is not found by itself."""

from kubecore.testing import kubecore_cluster, kubecore_options

__all__ = ["kubecore_cluster", "kubecore_options"]
