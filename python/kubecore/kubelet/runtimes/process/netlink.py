"""The few requests of rtnetlink that pod networks need: bridges, veth pairs, addresses, routes.

A socket belongs to the network namespace in which it was made; whoever makes one is in the right one. Requests are answered
by the kernel before they return. (Why not a library: docs/design/process-runtime.md has the figures.)
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

_NLMSG_ERROR = 2
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_REPLACE, _NLM_F_EXCL, _NLM_F_CREATE = 1, 4, 0x100, 0x200, 0x400
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 17, 18, 19, 20, 24
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO, _IFLA_NET_NS_FD = (
    1,
    3,
    4,
    10,
    12,
    18,
    28,
)
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER, _IFLA_BRPORT_MODE = 1, 2, 1, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_IFF_UP = 1
_IFA_F_NOPREFIXROUTE = 0x200
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RTN_UNICAST = 254, 3, 0, 253, 1
_NLA_F_NESTED = 0x8000
_ANSWER_BYTES = 1 << 16


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _link(index: int = 0, *, up: bool = False) -> bytes:
    flags = _IFF_UP if up else 0
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


class Netlink:
    """A rtnetlink socket of the network namespace that the caller is in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def index_of(self, name: str) -> int:
        """0 if there is no such interface."""
        try:
            answer = self._ask(_RTM_GETLINK, 0, _link() + _text(_IFLA_IFNAME, name))
        except OSError as failed:
            if failed.errno == 19:  # ENODEV
                return 0
            raise
        return int(struct.unpack_from("=i", answer, 4)[0])

    def add_bridge(self, name: str) -> None:
        kind = _attribute(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "bridge"))
        self._ask(_RTM_NEWLINK, _NLM_F_CREATE | _NLM_F_EXCL, _link(up=True) + _text(_IFLA_IFNAME, name) + kind)

    def add_pair(self, name: str, *, peer: str, peer_namespace: int, bridge: int, mtu: int) -> None:
        """A veth pair: `name` here, up and a port of the bridge; `peer` in the namespace of that handle."""
        at_peer = (
            _link() + _text(_IFLA_IFNAME, peer) + _number(_IFLA_NET_NS_FD, peer_namespace) + _number(_IFLA_MTU, mtu)
        )
        data = _attribute(_IFLA_INFO_DATA | _NLA_F_NESTED, _attribute(_VETH_INFO_PEER | _NLA_F_NESTED, at_peer))
        info = _attribute(_IFLA_LINKINFO | _NLA_F_NESTED, _text(_IFLA_INFO_KIND, "veth") + data)
        here = _link(up=True) + _text(_IFLA_IFNAME, name) + _number(_IFLA_MTU, mtu) + _number(_IFLA_MASTER, bridge)
        self._ask(_RTM_NEWLINK, _NLM_F_CREATE | _NLM_F_EXCL, here + info)

    def set_hairpin(self, index: int) -> None:
        """The bridge may send a frame back through the port it came from: a pod reaches itself by its Service."""
        mode = _attribute(_IFLA_PROTINFO | _NLA_F_NESTED, _attribute(_IFLA_BRPORT_MODE, b"\1"))
        message = struct.pack("=BxHiII", socket.AF_BRIDGE, 0, index, 0, 0) + mode
        # With NEWLINK the kernel says yes and does nothing.
        self._ask(_RTM_SETLINK, 0, message)

    def set_up(self, index: int) -> None:
        self._ask(_RTM_NEWLINK, 0, _link(index, up=True))

    def delete(self, index: int) -> None:
        self._ask(_RTM_DELLINK, 0, _link(index))

    def add_address(self, index: int, address: str, prefix_length: int, *, connected_route: bool = True) -> None:
        """Without `connected_route` its neighbours are reached like everybody else."""
        packed = ipaddress.ip_address(address).packed
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        header = struct.pack("=BBBBi", family, prefix_length, 0, 0, index)
        flags = 0 if connected_route else _IFA_F_NOPREFIXROUTE
        body = _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed) + _number(_IFA_FLAGS, flags)
        if family == socket.AF_INET:
            network = ipaddress.ip_interface(f"{address}/{prefix_length}").network
            body += _attribute(_IFA_BROADCAST, network.broadcast_address.packed)
        self._ask(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_REPLACE, header + body)

    def add_route(self, index: int, destination: str, *, gateway: str = "") -> None:
        """`destination` as network/length; without a gateway it is on the link."""
        network = ipaddress.ip_network(destination)
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        scope = _RT_SCOPE_UNIVERSE if gateway else _RT_SCOPE_LINK
        length = network.prefixlen
        header = struct.pack("=BBBBBBBBI", family, length, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
        body = _number(_RTA_OIF, index)
        if length:
            body += _attribute(_RTA_DST, network.network_address.packed)
        if gateway:
            body += _attribute(_RTA_GATEWAY, ipaddress.ip_address(gateway).packed)
        self._ask(_RTM_NEWROUTE, _NLM_F_CREATE | _NLM_F_REPLACE, header + body)

    def _ask(self, kind: int, flags: int, body: bytes) -> bytes:
        """The answer's body, without its header: for a question the object, for a change nothing."""
        self._sequence += 1
        flags |= _NLM_F_REQUEST | (0 if kind == _RTM_GETLINK else _NLM_F_ACK)
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body)
        while True:
            answer = self._socket.recv(_ANSWER_BYTES)
            _, answer_kind, _, sequence, _ = struct.unpack_from("=IHHII", answer)
            if sequence != self._sequence:
                continue
            if answer_kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", answer, 16)[0]
                if number:
                    raise OSError(number, os.strerror(number))
            return answer[16:]
