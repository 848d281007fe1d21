"""A container's environment, from every source and in upstream's words."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import pytest

from kubecore.api import errors
from kubecore.kubelet import environment_file
from kubecore.kubelet.environment import Around, Environment, ObjectsUnavailable, expand, expand_command, expand_static
from kubecore.kubelet.seams import ConfigurationFailure
from support.pods import amounts, container_of, pod_of

ALLOCATABLE = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "50Gi"}
AROUND = Around(pod_ips=("10.244.0.5", "fd00::5"), host_ips=("198.18.0.11",), allocatable=ALLOCATABLE)


@dataclass
class Objects:
    kind: str
    found: dict[tuple[str, str], dict] = field(default_factory=dict)

    async def get(self, namespace: str, name: str) -> dict:
        if name == "unreachable":
            raise ObjectsUnavailable(f"failed to sync {self.kind} cache: timed out waiting for the condition")
        if (namespace, name) not in self.found:
            raise errors.NotFound(f'{self.kind} "{name}" not found')
        return self.found[namespace, name]


@dataclass
class Services:
    services: list[dict] = field(default_factory=list)
    has_synced: bool = True

    def list(self) -> list[dict]:
        return self.services


def _service(name: str, namespace: str, ip: str, *ports: dict) -> dict:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": list(ports)}}


KUBERNETES = _service("kubernetes", "default", "10.96.0.1", {"name": "https", "port": 443, "protocol": "TCP"})
CONFIG = {"data": {"color": "blue", "log.level": "debug", "1st": "a"}}
SECRET = {"data": {"password": base64.b64encode(b"s3cret").decode()}}
BINARY = {"data": {"bytes": base64.b64encode(b"\xff\x00").decode(), "text": base64.b64encode(b"ok").decode()}}


async def _environment(container: dict, *, services: Services | None = None, around: Around = AROUND, **spec) -> dict:
    maker = Environment(
        config_maps=Objects("configmap", {("default", "settings"): CONFIG}),
        secrets=Objects("secret", {("default", "login"): SECRET, ("default", "binary"): BINARY}),
        services=services or Services(),
    )
    pod = pod_of(container, metadata={"labels": {"app": "x", "b": 'say "hi"'}, "annotations": {"note": "n"}}, **spec)
    return dict(await maker.of(pod, container, around))


def _env(*variables: dict) -> dict:
    return container_of(env=list(variables))


def _from(name: str, **source) -> dict:
    return {"name": name, "valueFrom": source}


async def test_references_to_variables_are_expanded() -> None:
    found = await _environment(
        _env(
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(KUBERNETES_SERVICE_HOST)-$(MISSING)-$$(A)"},
            {"name": "LATE", "value": "$(AFTER)"},
            {"name": "AFTER", "value": "x"},
        ),
        services=Services([KUBERNETES]),
    )
    assert found["B"] == "1-10.96.0.1-$(MISSING)-$(A)"
    assert found["LATE"] == "$(AFTER)"


def test_what_only_looks_like_a_reference_stays() -> None:
    assert expand("$(A", {"A": "1"}) == "$(A"
    assert expand("$A $", {"A": "1"}) == "$A $"
    assert expand("$$$(A)$$$$", {"A": "1"}) == "$1$$"


def test_commands_see_the_variables() -> None:
    container = container_of(command=["run", "$(A)"], args=["$(B)", "$$(A)"])
    assert expand_command(container, {"A": "1"}) == (("run", "1"), ("$(B)", "$(A)"))
    probed = _env({"name": "A", "value": "1"}, _from("B", fieldRef={"fieldPath": "metadata.name"}))
    assert expand_static(["$(A)", "$(B)"], probed) == ("1", "$(B)")


async def test_services_of_the_namespace_are_told_of_and_the_api_server_always() -> None:
    web = _service(
        "my-web",
        "default",
        "10.96.3.4",
        {"name": "http-main", "port": 80},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    )
    headless = _service("headless", "default", "None", {"port": 80})
    foreign = _service("foreign", "other", "10.96.9.9", {"port": 80})
    services = Services([KUBERNETES, web, headless, foreign])
    linked = await _environment(container_of(), services=services)
    assert linked["MY_WEB_SERVICE_HOST"] == "10.96.3.4"
    assert linked["MY_WEB_SERVICE_PORT"] == "80"
    assert linked["MY_WEB_SERVICE_PORT_HTTP_MAIN"] == "80"
    assert linked["MY_WEB_PORT"] == "tcp://10.96.3.4:80"
    assert linked["MY_WEB_PORT_53_UDP"] == "udp://10.96.3.4:53"
    assert linked["MY_WEB_PORT_53_UDP_PROTO"] == "udp"
    assert linked["MY_WEB_PORT_80_TCP_ADDR"] == "10.96.3.4"
    assert linked["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not [name for name in linked if name.startswith(("HEADLESS", "FOREIGN"))]
    bare = await _environment(container_of(), services=services, enableServiceLinks=False)
    assert {name.split("_")[0] for name in bare} == {"KUBERNETES"}


async def test_nothing_is_made_before_the_services_are_known() -> None:
    with pytest.raises(ConfigurationFailure) as refused:
        await _environment(container_of(), services=Services(has_synced=False))
    assert str(refused.value) == "services have not yet been read at least once, cannot construct envvars"
    assert refused.value.reason == "CreateContainerConfigError"


async def test_a_pod_reads_its_own_fields() -> None:
    paths = {
        "NAME": "metadata.name",
        "UID": "metadata.uid",
        "LABEL": "metadata.labels['app']",
        "NONE": "metadata.labels['none']",
        "LABELS": "metadata.labels",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "HOST": "status.hostIP",
        "HOSTS": "status.hostIPs",
        "IP": "status.podIP",
        "IPS": "status.podIPs",
    }
    found = await _environment(_env(*(_from(name, fieldRef={"fieldPath": path}) for name, path in paths.items())))
    assert found == {
        "NAME": "web",
        "UID": "uid-of-web",
        "LABEL": "x",
        "NONE": "",
        "LABELS": 'app="x"\nb="say \\"hi\\""',
        "NODE": "node-0",
        "ACCOUNT": "default",
        "HOST": "198.18.0.11",
        "HOSTS": "198.18.0.11",
        "IP": "10.244.0.5",
        "IPS": "10.244.0.5,fd00::5",
    }


async def test_a_field_that_is_not_offered_is_refused() -> None:
    with pytest.raises(ConfigurationFailure, match=r"unsupported fieldPath: spec\.hostname"):
        await _environment(_env(_from("A", fieldRef={"fieldPath": "spec.hostname"})))


async def test_a_container_reads_its_limits_in_units_of_the_divisor() -> None:
    def limit(name: str, resource: str, **more) -> dict:
        return _from(name, resourceFieldRef={"resource": resource, **more})

    container = container_of(
        env=[
            limit("CPU", "limits.cpu"),
            limit("MILLI", "limits.cpu", divisor="1m"),
            limit("MEMORY", "requests.memory", divisor="1Mi"),
            limit("NO_REQUEST", "requests.cpu"),
            limit("UP_TO", "limits.memory", divisor="1Gi"),
            limit("OTHER", "limits.cpu", containerName="side", divisor="1m"),
        ],
        **amounts(requests={"memory": "100M"}, limits={"cpu": "1500m"}),
    )
    side = container_of("side", **amounts(limits={"cpu": "30m"}))
    found = await _environment(container, initContainers=[side])
    assert found == {"CPU": "2", "MILLI": "1500", "MEMORY": "96", "NO_REQUEST": "0", "UP_TO": "8", "OTHER": "30"}


async def test_a_container_without_limits_may_use_what_its_pod_may() -> None:
    container = _env(_from("UP_TO", resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}))
    found = await _environment(container, **amounts(limits={"memory": "256Mi"}))
    assert found == {"UP_TO": "256"}


async def test_config_maps_and_secrets_give_values() -> None:
    found = await _environment(
        container_of(
            envFrom=[{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}],
            env=[
                _from("COLOR", configMapKeyRef={"name": "settings", "key": "color"}),
                _from("GONE", secretKeyRef={"name": "absent", "key": "x", "optional": True}),
                _from("NO_KEY", configMapKeyRef={"name": "settings", "key": "absent", "optional": True}),
                {"name": "S_color", "value": "overridden"},
            ],
        )
    )
    assert found == {
        "S_color": "overridden",
        "S_log.level": "debug",
        "S_1st": "a",
        "password": "s3cret",
        "COLOR": "blue",
    }


async def test_a_secret_that_is_no_text_makes_no_variable() -> None:
    text = await _environment(_env(_from("A", secretKeyRef={"name": "binary", "key": "text"})))
    assert text == {"A": "ok"}
    with pytest.raises(ConfigurationFailure, match="the value of variable A contains invalid UTF-8"):
        await _environment(_env(_from("A", secretKeyRef={"name": "binary", "key": "bytes"})))


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (_env(_from("A", configMapKeyRef={"name": "absent", "key": "k"})), 'configmap "absent" not found'),
        (_env(_from("A", secretKeyRef={"name": "absent", "key": "k"})), 'secret "absent" not found'),
        (
            _env(_from("A", configMapKeyRef={"name": "settings", "key": "k"})),
            "couldn't find key k in ConfigMap default/settings",
        ),
        (_env(_from("A", secretKeyRef={"name": "login", "key": "k"})), "couldn't find key k in Secret default/login"),
        (container_of(envFrom=[{"configMapRef": {"name": "absent"}}]), 'configmap "absent" not found'),
        (
            container_of(envFrom=[{"secretRef": {"name": "unreachable", "optional": True}}]),
            "failed to sync secret cache: timed out waiting for the condition",
        ),
    ],
)
async def test_what_is_missing_is_said_in_upstreams_words(container, message) -> None:
    with pytest.raises(ConfigurationFailure) as refused:
        await _environment(container)
    assert str(refused.value) == message


async def test_a_file_in_a_volume_gives_a_value() -> None:
    files = {("cfg", "env"): "A='one'\nB='two\nlines' # end\n"}

    def read(volume: str, path: str) -> str:
        if (volume, path) not in files:
            raise FileNotFoundError(path)
        return files[volume, path]

    around = Around(read_file=read)

    def key(name: str, **more) -> dict:
        return _from(name, fileKeyRef={"volumeName": "cfg", "path": "env", "key": name, **more})

    assert await _environment(_env(key("A"), key("B"), key("C", optional=True)), around=around) == {
        "A": "one",
        "B": "two\nlines",
    }
    with pytest.raises(ConfigurationFailure, match='environment variable key "C" not found in file "env"'):
        await _environment(_env(key("C")), around=around)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=plain", "at line 1: value must be enclosed in single quotes"),
        ("# c\nA = 'x'", "at line 2: whitespace before '=' is not allowed"),
        ("A", "at line 1: missing '='"),
        ("='x'", "at line 1: empty variable name"),
        ("B='x' y", "at line 1: unexpected content after closing quote"),
        ("\nB='x\ny", "starting at line 2: unclosed single quote"),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(environment_file.FormatFailure, match=message):
        environment_file.value(text, "A")


def test_a_blank_before_the_quote_is_an_empty_assignment() -> None:
    assert environment_file.value("A= 'x'\n", "A") == ""
    assert environment_file.value("A= 'x'\nB='y'\n", "B") == "y"
