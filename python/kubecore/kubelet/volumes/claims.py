"""persistentVolumeClaims, as far as a node serves them by itself: bound to a volume of kind hostPath or local."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubecore.api import errors
from kubecore.api.meta import Object, name_of, namespace_of, uid_of
from kubecore.api.scheme import core
from kubecore.client import Client, TransportError
from kubecore.kubelet.volumes.payload import VolumeFailure


def claim_name(pod: Object, volume: Mapping[str, Any]) -> str:
    """A claim of the pod's own is named after it."""
    if "ephemeral" in volume:
        return f"{name_of(pod)}-{volume['name']}"
    return str(volume["persistentVolumeClaim"]["claimName"])


async def resolve(client: Client, pod: Object, volume: Mapping[str, Any]) -> Mapping[str, Any]:
    """The hostPath or local volume that the claim is bound to, as a volume of a pod would say it. Raises VolumeFailure."""
    namespace, name = namespace_of(pod), claim_name(pod, volume)
    try:
        claim = await client.get(core("persistentvolumeclaims"), namespace, name)
        _check(pod, volume, claim)
        bound_to = claim["spec"]["volumeName"]
        found = await client.get(core("persistentvolumes"), "", bound_to)
    except (errors.StatusError, TransportError) as failure:
        raise _failure(pod, volume, f"failed to fetch PVC from API server: {failure}") from failure
    spec = found["spec"]
    if "hostPath" in spec:
        return {"hostPath": spec["hostPath"]}
    if "local" in spec:
        return {"hostPath": {"path": spec["local"]["path"], "type": "Directory"}}
    kind = next((each for each in sorted(spec) if isinstance(spec[each], dict) and each not in _NO_SOURCE), "unknown")
    raise _failure(pod, volume, f"volume {bound_to} is of kind {kind}; this kubelet serves hostPath and local")


_NO_SOURCE = ("capacity", "claimRef", "nodeAffinity")


def _check(pod: Object, volume: Mapping[str, Any], claim: Object) -> None:
    if claim["metadata"].get("deletionTimestamp"):
        raise _failure(pod, volume, "can't start pod because PVC is being deleted")
    if (claim.get("status") or {}).get("phase") != "Bound" or not claim["spec"].get("volumeName"):
        raise _failure(pod, volume, "PVC is not bound")
    owners = claim["metadata"].get("ownerReferences") or ()
    if "ephemeral" in volume and not any(owner.get("uid") == uid_of(pod) for owner in owners):
        raise _failure(pod, volume, "PVC was not created for the pod")


def _failure(pod: Object, volume: Mapping[str, Any], problem: str) -> VolumeFailure:
    return VolumeFailure(f"error processing PVC {namespace_of(pod)}/{claim_name(pod, volume)}: {problem}")
