"""ServiceAccount: every pod has a service account that exists, and its token, CA and namespace mounted.

Source:
https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
"""

from __future__ import annotations

import random
from typing import Any

from kubecore.api.meta import Object
from kubecore.api.scheme import core
from kubecore.apiserver.access.admission.refusal import is_pod, refusal
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin

DEFAULT_NAME = "default"
VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_EXPIRATION_SECONDS = 3607
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Upstream's: no vowels, so that no words appear."""
SUFFIX_LENGTH = 5


class ServiceAccount(BasePlugin):
    name = "ServiceAccount"

    def __init__(self, randomness: random.Random) -> None:
        # A volume's name counts within its pod only. One for all, so that pods of one template stay alike: what is
        # known of one spec is known of the next.
        self._volume_name = VOLUME_PREFIX + "".join(randomness.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH))

    def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.operation != "CREATE" or pod is None or not is_pod(request) or _is_mirror(pod):
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName") or DEFAULT_NAME
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = _account(request, name)
        if _automounts(account, spec):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(reference) for reference in account["imagePullSecrets"]]

    def validate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.operation != "CREATE" or pod is None or not is_pod(request):
            return
        spec = pod["spec"]
        if _is_mirror(pod):
            _check_mirror(request, spec)
            return
        name = spec.get("serviceAccountName")
        if not name:
            raise refusal(request, f"no service account specified for pod {request.namespace}/{request.name}")
        _account(request, name)

    def _mount_token(self, spec: dict[str, Any]) -> None:
        volumes = spec.get("volumes") or []
        existing = next((volume["name"] for volume in volumes if volume.get("name", "").startswith(VOLUME_PREFIX)), "")
        volume_name = existing or self._volume_name
        needed = False
        # Validation comes later and refuses a pod without containers, and a volume without a name.
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            container["volumeMounts"] = [*mounts, {"name": volume_name, "readOnly": True, "mountPath": MOUNT_PATH}]
            needed = True
        if needed and not existing:
            spec["volumes"] = [*volumes, _token_volume(volume_name)]


def _is_mirror(pod: Object) -> bool:
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or ())


def _account(request: AdmissionRequest, name: str) -> Object:
    account = request.storage.get(core("serviceaccounts"), request.namespace, name)
    if account is None:
        raise refusal(
            request,
            f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found',
        )
    return account


def _automounts(account: Object, spec: dict[str, Any]) -> bool:
    """The pod's own word counts, then the account's; without either it is yes."""
    for says in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if says is not None:
            return bool(says)
    return True


def _token_volume(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_EXPIRATION_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [
                            {
                                "path": "namespace",
                                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                            }
                        ]
                    }
                },
            ],
            "defaultMode": 420,
        },
    }


def _check_mirror(request: AdmissionRequest, spec: dict[str, Any]) -> None:
    """A mirror pod shows what a node runs by itself: it must not reach for the API's secrets."""
    if spec.get("serviceAccountName"):
        raise refusal(request, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        if "secret" in volume:
            raise refusal(request, "a mirror pod may not reference secrets")
        sources = volume.get("projected", {}).get("sources") or ()
        if any("serviceAccountToken" in source for source in sources):
            raise refusal(request, "a mirror pod may not use ServiceAccountToken volume projections")
