"""The volumes of this node's pods, below the kubelet's root directory.

manager    sets up, keeps current, takes away;   payload    what files a volume holds;   writer    changes them all at once
tokens     service account tokens;   claims, host_path    volumes that are elsewhere;   ownership    fsGroup
subpath    a part of a volume, safely;   mounts    what is asked of the kernel;   paths    where things are
"""

from kubecore.kubelet.volumes.manager import VolumeManager
from kubecore.kubelet.volumes.mounts import LinuxMounter, Mounter
from kubecore.kubelet.volumes.subpath import SubPathFailure
from kubecore.kubelet.volumes.tokens import Tokens

__all__ = ["LinuxMounter", "Mounter", "SubPathFailure", "Tokens", "VolumeManager"]
