"""Which addresses a webhook may have, so that it cannot be aimed at the server's own network.

The name is resolved here and the connection goes to the very address that was checked
(webhook.py), so a name that resolves to something else the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

PORTS = (80, 443, 8080, 8443)
LONGEST = 500
# Networks that lead to an IPv4 address in another guise, or to a site's own hosts, and that
# `is_global` does not refuse in every Python.
_REFUSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "::ffff:0:0/96",  # IPv4-mapped
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a site
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
        "fec0::/10",  # of a site
        "192.88.99.0/24",  # relays of 6to4
    )
)


class Refused(Exception):
    """A sentence on why this address is not asked. Trying again would not help."""


class Unresolved(Exception):
    """The name has no address now."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A web address, taken apart and checked but for where its name leads."""

    scheme: str
    host: str
    port: int
    path: str  # with its query
    allowed: bool  # named by VADLAB_WEBHOOK_ALLOW: it may be inside

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return name if self.port == default else f"{name}:{self.port}"


def parse(url: str) -> Target:
    """Take an address apart.

    Raises:
        Refused: it is none that a webhook may have.
    """
    if len(url) > LONGEST or not url.isascii() or any(c <= " " or c in '\x7f"<>\\' for c in url):
        raise Refused(f"It must be at most {LONGEST} ASCII characters without spaces.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Refused("It cannot be read as a web address.") from None
    if parts.scheme not in ("http", "https"):
        raise Refused("It must begin with https:// or http://.")
    if not host or "%" in host:
        raise Refused("It names no host.")
    if "@" in parts.netloc:
        raise Refused("It must not contain a user name or password.")
    port = port or (443 if parts.scheme == "https" else 80)
    allowed = bool({host, f"{host}:{port}"} & set(settings.WEBHOOK_ALLOW))
    if port not in PORTS and not (allowed and f"{host}:{port}" in settings.WEBHOOK_ALLOW):
        listed = ", ".join(map(str, PORTS))
        raise Refused(f"Port {port} is not allowed, only {listed}.")
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    return Target(scheme=parts.scheme, host=host, port=port, path=path, allowed=allowed)


def resolve(target: Target) -> list[str]:
    """The addresses to connect to, each of them checked; at least one.

    Raises:
        Refused: the name leads, also, to an address that is not public.
        Unresolved: it leads nowhere now.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unresolved(f"The name {target.host} has no address.") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses:
        raise Unresolved(f"The name {target.host} has no address.")
    if not target.allowed and not all(is_public(address) for address in addresses):
        raise Refused(
            f"{target.host} leads to an address that is not public. Whoever runs the server can "
            "allow a host inside with VADLAB_WEBHOOK_ALLOW."
        )
    return list(dict.fromkeys(addresses))


def is_public(text: str) -> bool:
    """Whether anybody on the Internet could be asked there."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if any(address.version == net.version and address in net for net in _REFUSED):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
        or address.is_loopback or address.is_link_local or address.is_private
    )  # fmt: skip
