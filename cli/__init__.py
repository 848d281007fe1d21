"""The `kubecore` command: one verb a file. Installed as `kubecore_cli`, so that nobody's `cli` package is shadowed."""

from kubecore_cli.main import main

__all__ = ["main"]
