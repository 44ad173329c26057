"""Requests through a reverse proxy: the original client, scheme and path prefix."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

Networks = tuple[IPv4Network | IPv6Network, ...]

UNIX = "unix"
"""Stands for every client of a Unix socket, which has no address."""

PREFIX = re.compile(r"(/[\w.~-]+)+")
"""A path prefix that may be put into a page."""

ELEMENT = re.compile(r'(?:^|[;,])\s*(for|proto)\s*=\s*("[^"]*"|[^;,\s]*)', re.IGNORECASE)
"""The elements of a Forwarded header (RFC 7239) that are used."""


class ProxyHeaders:
    """Applies `Forwarded` and `X-Forwarded-For`, `-Proto` and `-Prefix` if they come from a proxy in `trusted`.

    The prefix, or else the setting `root_path`, becomes the scope's `root_path`, whether or not the proxy has removed
    it from the path.
    """

    def __init__(self, app: ASGIApp, *, trusted: str, root_path: str) -> None:
        """`trusted` lists addresses and networks, separated by commas; `unix` stands for any client of a Unix socket.

        Raises ValueError, naming the first entry that is none of these.
        """
        self.app = app
        self._trusted = networks(trusted)
        self._trusts_socket = UNIX in names(trusted)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            prefix = self._root_path
            client = scope.get("client")  # None on a Unix socket
            if self._trusts(client[0]) if client else self._trusts_socket:
                prefix = self._believe(scope) or prefix
            if prefix:
                # In place, because the layers outside this one read the scope afterwards.
                scope["root_path"] = prefix
                if not f"{scope['path']}/".startswith(f"{prefix}/"):
                    scope["path"] = prefix + scope["path"]
        await self.app(scope, receive, send)

    def _believe(self, scope: Scope) -> str:
        """Set the scope's client and scheme from the headers. Returns the path prefix, or "" without a valid one."""
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            headers[name] = (
                f"{headers[name]}, {value.decode('latin-1')}" if name in headers else value.decode("latin-1")
            )
        clients, schemes = _chain(headers)
        client = next((address for address in reversed(clients) if not self._trusts(address)), None)
        if client and _is_address(client):
            scope["client"] = (client, 0)
        if schemes and schemes[-1].lower() in ("http", "https"):
            scope["scheme"] = schemes[-1].lower()
        prefix = headers.get(b"x-forwarded-prefix", "").rstrip("/")
        return prefix if PREFIX.fullmatch(prefix) else ""

    def _trusts(self, address: str) -> bool:
        if not _is_address(address):
            return False
        return any(ip_address(address) in network for network in self._trusted)


def networks(trusted: str) -> Networks:
    """The addresses and networks in a list with commas, without `unix`. Raises ValueError, naming a wrong entry."""
    return tuple(ip_network(name) for name in names(trusted) if name != UNIX)


def names(trusted: str) -> list[str]:
    """The entries of a list with commas."""
    return [part.strip() for part in trusted.split(",") if part.strip()]


def _chain(headers: Mapping[bytes, str]) -> tuple[list[str], list[str]]:
    """The addresses and schemes that proxies have added; the nearest proxy's is last."""
    if forwarded := headers.get(b"forwarded"):
        elements = [(name.lower(), value.strip('"')) for name, value in ELEMENT.findall(forwarded[:4096])]
        clients = [_without_port(value) for name, value in elements if name == "for"]
        return clients, [value for name, value in elements if name == "proto"]
    named = (headers.get(name, "")[:4096].split(",") for name in (b"x-forwarded-for", b"x-forwarded-proto"))
    clients, schemes = ([part.strip() for part in parts if part.strip()] for parts in named)
    return [_without_port(client) for client in clients], schemes


def _without_port(address: str) -> str:
    """An address without its port, and without the brackets of IPv6."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
