"""Which addresses connectors may talk to, by who asks: the world, a private network, or this machine too.

Sources: the IANA registries of special addresses (RFC 6890), https://www.iana.org/assignments/iana-ipv4-special-registry
and https://www.iana.org/assignments/iana-ipv6-special-registry; the clouds' own pages for where their metadata are.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, TypeAlias, get_args
from urllib.parse import SplitResult, urlsplit

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# public: the world. private: somebody's network. loopback: this machine. metadata: link-local addresses, and where
# clouds tell a machine its credentials. other: multicast, reserved, and whatever stands for an address unseen.
Kind: TypeAlias = Literal["public", "private", "loopback", "metadata", "other"]

_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",
        "fe80::/10",
        "fec0::/10",
        "fd00:ec2::/32",  # AWS by IPv6
        "fd20:ce::254/128",  # Google by IPv6
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
    )
)
# Private networks of RFC 1918, carriers' NAT (RFC 6598) and unique local addresses (RFC 4193).
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# An IPv4 address in the clothes of an IPv6 address (RFC 6052, RFC 8215), 6to4 and Teredo.
_DISGUISED = tuple(
    ipaddress.ip_network(network) for network in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)

_NAMES: dict[Kind, str] = {
    "public": "a public address",
    "private": "an address of a private network",
    "loopback": "an address of the server's own machine",
    "metadata": "a link-local address, or where a cloud tells its machines their credentials",
    "other": "an address that stands for many, or for another one",
}


_ALL: frozenset[Kind] = frozenset(get_args(Kind))
_OURS: frozenset[Kind] = frozenset(("public", "private", "loopback"))


class Walled(ConfigError):
    """Somebody aimed at an address that they may not reach."""

    code = "private_address"


@dataclass(frozen=True, slots=True)
class Reach:
    """Kinds of addresses that may be reached. ``web``: by HTTP, where a URL is all it takes to aim;
    ``stores``: databases and buckets, which usually are in the network of whoever runs this. ``credentials``: buckets
    may be opened with what the server itself has in its environment, where the connection has no keys."""

    web: frozenset[Kind]
    stores: frozenset[Kind]
    credentials: bool = False

    @property
    def everywhere(self) -> bool:
        """Nothing has to be looked at before it is connected to."""
        return self.web & self.stores >= _ALL


# Whoever sits at the machine reaches all of this with any other program as well.
ANYWHERE = Reach(_ALL, _ALL, credentials=True)
NETWORK = Reach(_OURS, _OURS)
WORLD = Reach(frozenset(("public",)), frozenset(("public", "private")))
# This machine by HTTP, where the simulator is, and nothing else.
SIMULATOR = Reach(frozenset(("loopback",)), frozenset())


def kind_of(address: Address) -> Kind:
    """What kind of address it is; an IPv4 address inside an IPv6 address (::ffff:a.b.c.d) counts as itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return kind_of(address.ipv4_mapped)
    if any(address in network for network in _METADATA):
        return "metadata"
    # 0.0.0.0/8 and :: lead to this machine on most systems.
    if address.is_loopback or address.is_unspecified or address in ipaddress.ip_network("0.0.0.0/8"):
        return "loopback"
    if any(address in network for network in _PRIVATE):
        return "private"
    disguised = any(address in network for network in _DISGUISED)
    if disguised or not address.is_global or address.is_multicast or address.is_reserved:
        return "other"
    return "public"


def web_url(text: str) -> SplitResult | None:
    """The parts of a URL of HTTP, where it is one that can be asked: with a host, and a port that can be."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if whole and text.isprintable() and " " not in text else None


def resolved(host: str, port: int, allowed: frozenset[Kind]) -> Sequence[str]:
    """The addresses of a host, every one of an allowed kind. Connect to these, not to the name: it may be another
    machine's a moment later.

    Numbers that only old resolvers take for addresses (0x7f.1, 2130706433) go the same way: what they resolve to is
    looked at. Raises Walled; OSError for a name that has no address.
    """
    found: list[str] = []
    for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        text = str(place[0])
        kind = kind_of(ipaddress.ip_address(text.partition("%")[0]))
        if kind not in allowed:
            raise Walled(
                f"{host} is {_NAMES[kind]}, which connections may not reach when others than the operator of the "
                "server aim them",
                hint="Use a public address. For systems of your own network, or a simulator, an administrator may set "
                "`settings: {allow_private_addresses: true}` with `millrace apply`; the operator's own `millrace run` "
                "reaches them anyway."
                if kind in NETWORK.web
                else "Use the address of the system itself. No setting allows this one.",
            )
        found.append(text)
    return list(dict.fromkeys(found))


def check(host: str, port: int, allowed: frozenset[Kind]) -> None:
    """The host has addresses of allowed kinds alone. Raises Walled; a name without an address is left to whoever
    connects to it."""
    with suppress(OSError, UnicodeError):
        resolved(host, port, allowed)


def check_url(url: str, allowed: frozenset[Kind]) -> None:
    """The host of the URL, where it is one of HTTP, has addresses of allowed kinds alone; for clients that resolve
    names by themselves. Raises Walled."""
    parts = urlsplit(url)
    if parts.scheme.lower() in ("http", "https") and parts.hostname:
        check(parts.hostname, parts.port or 443, allowed)
