"""Security contexts: whose word counts, what the runtime is told, what is refused."""

from __future__ import annotations

import pytest

from kubecore.kubelet.runtimes.protocol import NamespaceMode
from kubecore.kubelet.security import (
    SecurityRefusal,
    container_security,
    forbidden_sysctl,
    sandbox_security,
    verify_run_as_non_root,
)
from support.pods import container_of, pod_of

POD_IN_WORDS = '(pod: "web_default(uid-of-web)", container: main)'


def _context(**context) -> dict:
    return container_of(securityContext=context)


def test_a_container_overrides_its_pod() -> None:
    pod = pod_of(securityContext={"runAsUser": 1000, "runAsGroup": 3000})
    plain = container_security(pod, container_of())
    own = container_security(pod, _context(runAsUser=2000))
    assert (plain.run_as_user, plain.run_as_group) == (1000, 3000)
    assert (own.run_as_user, own.run_as_group) == (2000, 3000)


def test_the_images_user_counts_where_nobody_says_otherwise() -> None:
    assert container_security(pod_of(), container_of(), image_uid=33).run_as_user == 33
    named = container_security(pod_of(), container_of(), image_user="www-data")
    assert (named.run_as_user, named.run_as_username) == (None, "www-data")
    overruled = container_security(pod_of(), _context(runAsUser=5), image_user="www-data")
    assert (overruled.run_as_user, overruled.run_as_username) == (5, "")


@pytest.mark.parametrize(
    ("container", "uid", "user", "message"),
    [
        (_context(runAsNonRoot=True, runAsUser=0), 5, "", "container's runAsUser breaks non-root policy"),
        (_context(runAsNonRoot=True), 0, "", "container has runAsNonRoot and image will run as root"),
        (_context(runAsNonRoot=True), None, "", "container has runAsNonRoot and image will run as root"),
        (
            _context(runAsNonRoot=True),
            None,
            "nobody",
            "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root",
        ),
    ],
)
def test_who_promised_not_to_be_root_is_held_to_it(container, uid, user, message) -> None:
    with pytest.raises(SecurityRefusal) as refused:
        verify_run_as_non_root(pod_of(container), container, image_uid=uid, image_user=user)
    assert str(refused.value) == f"{message} {POD_IN_WORDS}"


def test_who_is_not_root_keeps_the_promise() -> None:
    promise = _context(runAsNonRoot=True)
    verify_run_as_non_root(pod_of(promise), promise, image_uid=1000, image_user="")
    by_pod = pod_of(securityContext={"runAsNonRoot": True, "runAsUser": 7})
    verify_run_as_non_root(by_pod, container_of(), image_uid=0, image_user="")
    verify_run_as_non_root(pod_of(), container_of(), image_uid=0, image_user="")


def test_groups_are_the_fs_group_and_those_named() -> None:
    pod = pod_of(securityContext={"fsGroup": 2000, "supplementalGroups": [5, 6], "supplementalGroupsPolicy": "Strict"})
    security = container_security(pod, container_of())
    assert security.supplemental_groups == (2000, 5, 6)
    assert security.supplemental_groups_policy == "Strict"
    assert sandbox_security(pod).supplemental_groups == (2000, 5, 6)


def test_capabilities_privilege_and_the_read_only_root_reach_the_runtime() -> None:
    security = container_security(
        pod_of(),
        _context(
            capabilities={"add": ["NET_ADMIN"], "drop": ["ALL"]},
            privileged=True,
            readOnlyRootFilesystem=True,
            allowPrivilegeEscalation=False,
        ),
    )
    assert (security.capabilities.add, security.capabilities.drop) == (("NET_ADMIN",), ("ALL",))
    assert (security.privileged, security.readonly_rootfs, security.no_new_privs) == (True, True, True)
    assert not container_security(pod_of(), _context(allowPrivilegeEscalation=True)).no_new_privs
    assert sandbox_security(pod_of(_context(privileged=True))).privileged


def test_proc_is_masked_unless_asked_otherwise() -> None:
    masked = container_security(pod_of(), container_of())
    assert "/proc/kcore" in masked.masked_paths
    assert "/proc/sys" in masked.readonly_paths
    bare = container_security(pod_of(), _context(procMount="Unmasked"))
    assert (bare.masked_paths, bare.readonly_paths) == ((), ())


def test_namespaces_follow_the_pod() -> None:
    own = container_security(pod_of(), container_of()).namespaces
    assert (own.network, own.ipc, own.pid) == (NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.CONTAINER)
    host = container_security(pod_of(hostNetwork=True, hostIPC=True, hostPID=True), container_of()).namespaces
    assert (host.network, host.ipc, host.pid) == (NamespaceMode.NODE,) * 3
    assert container_security(pod_of(shareProcessNamespace=True), container_of()).namespaces.pid is NamespaceMode.POD


def test_an_ephemeral_container_joins_its_target() -> None:
    joined = container_security(pod_of(), container_of("debug"), target_id="c1").namespaces
    assert (joined.pid, joined.target_id) == (NamespaceMode.TARGET, "c1")
    shared = container_security(pod_of(shareProcessNamespace=True), container_of("debug"), target_id="c1").namespaces
    assert shared.pid is NamespaceMode.POD


def _with_sysctl(name: str, **spec):
    return pod_of(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec)


def test_only_safe_and_allowed_sysctls_are_admitted() -> None:
    assert forbidden_sysctl(_with_sysctl("net.ipv4.tcp_syncookies")) == ""
    assert forbidden_sysctl(_with_sysctl("kernel.msgmax")) == 'forbidden sysctl: "kernel.msgmax" not allowlisted'
    assert forbidden_sysctl(_with_sysctl("kernel.msgmax"), allowed_unsafe=["kernel.msg*"]) == ""
    refused = forbidden_sysctl(_with_sysctl("net.ipv4.tcp_syncookies", hostNetwork=True))
    assert refused == 'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled'
