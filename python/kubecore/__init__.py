"""A Kubernetes control plane that a Python program can hold in its hand."""
