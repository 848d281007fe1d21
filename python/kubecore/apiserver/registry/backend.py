"""What the registry decides about a request that somebody else answers: a kubelet, a pod, a service's endpoint.

The wire turns it into a forward: it has the address dialled and sends the request as it is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kubecore.api.errors import ServiceUnavailable, StatusError
from kubecore.apiserver.registry.call import Call

_KEPT_BACK = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What belongs to one connection, and the credential: whom the server has let in need not show it to the next."""
_TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."


class Security(Enum):
    """How the connection is made."""

    PLAIN = "http"
    KUBELET = "https as the kubelet's client"
    ANY_CERTIFICATE = "https"
    """To pods and services: their certificates are nobody's business here, as upstream."""
    KUBELET_UNVERIFIED = "https as the kubelet's client, whatever certificate it shows"


class Trouble(Enum):
    """What is told if the address cannot be reached; each of upstream's paths has its own words."""

    LOGS = "logs"
    STREAM = "stream"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Backend:
    """`target`: path and query, escaped. `mount_path`: below which path of ours the answer is shown ("" : it needs no fitting).
    `errors_of`: (resource, name) if an answer of failure is text that must become a Status."""

    host: str
    port: int
    security: Security
    trouble: Trouble
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    mount_path: str = ""
    errors_of: tuple[str, str] | None = None

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def unreachable(self, why: str) -> StatusError:
        """`why`: as `dial tcp 10.0.0.1:10250: connect: connection refused`."""
        match self.trouble:
            case Trouble.LOGS:
                return StatusError(f'Get "https://{self.authority}{self.target}": {why}', reason="")
            case Trouble.STREAM:
                return StatusError(f"error dialing backend: {why}", reason="")
            case Trouble.PROXY:
                return ServiceUnavailable(f"error trying to reach service: {why}")


def passed_on(call: Call) -> list[tuple[str, str]]:
    """The client's headers as the backend gets them."""
    headers = [
        (name, value)
        for name, value in call.headers
        if name not in _KEPT_BACK
        and not name.startswith("impersonate-")
        and name not in ("sec-websocket-protocol", "x-forwarded-for")
    ]
    if protocols := _protocols(call):
        headers.append(("sec-websocket-protocol", ", ".join(protocols)))
    before = [value for name, value in call.headers if name == "x-forwarded-for"]
    client = call.remote_address.rpartition(":")[0].strip("[]")
    headers.append(("x-forwarded-for", ", ".join([*before, *([client] if client else [])])))
    return headers


def wants_upgrade(call: Call) -> bool:
    connection = ",".join(value for name, value in call.headers if name == "connection")
    return any(word.strip().lower() == "upgrade" for word in connection.split(","))


def _protocols(call: Call) -> list[str]:
    """The WebSocket protocols that a client offers, without the one that carries its token."""
    offered = ",".join(value for name, value in call.headers if name == "sec-websocket-protocol")
    words = (word.strip() for word in offered.split(","))
    return [word for word in words if word and not word.startswith(_TOKEN_PROTOCOL)]
