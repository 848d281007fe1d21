"""The controllers: each brings the cluster nearer to what one kind of object wants.

`ControllerManager` runs those that `--controllers` selects; `CONTROLLERS` lists them.
"""

from kubecore.controllers.manager import IDENTITY, ControllerManager, chosen, identity_of
from kubecore.controllers.table import CONTROLLERS

__all__ = ["CONTROLLERS", "IDENTITY", "ControllerManager", "chosen", "identity_of"]
