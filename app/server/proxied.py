"""Behind a reverse proxy: whose request it was, over which scheme, and under which path prefix the proxy offers us."""

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
"""What is read of a Forwarded header (RFC 7239)."""


class ProxyHeaders:
    """Believes `Forwarded` and `X-Forwarded-For`, `-Proto` and `-Prefix`, but only from proxies in `trusted`.

    The prefix, or `root_path` where no proxy says one, becomes the scope's `root_path`, whether the proxy cut it off
    the path or not.
    """

    def __init__(self, app: ASGIApp, *, trusted: str, root_path: str) -> None:
        """`trusted` has addresses and networks, separated by commas, and `unix` for whoever reaches a Unix socket.

        Raises ValueError if one of them is neither.
        """
        self.app = app
        self._trusted = networks(trusted)
        self._trusts_socket = UNIX in names(trusted)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            prefix = self._root_path
            client = scope.get("client")  # which a Unix socket has not
            if self._trusts(client[0]) if client else self._trusts_socket:
                prefix = self._believe(scope) or prefix
            if prefix:
                # The scope is changed in place, for those around us read it later.
                scope["root_path"] = prefix
                if not f"{scope['path']}/".startswith(f"{prefix}/"):
                    scope["path"] = prefix + scope["path"]
        await self.app(scope, receive, send)

    def _believe(self, scope: Scope) -> str:
        """Take client and scheme from the headers; returns the prefix, empty if there is none that is sound."""
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
    """Addresses and networks but for `unix`, separated by commas. Raises ValueError naming one that is neither."""
    return tuple(ip_network(name) for name in names(trusted) if name != UNIX)


def names(trusted: str) -> list[str]:
    """What has commas between it."""
    return [part.strip() for part in trusted.split(",") if part.strip()]


def _chain(headers: Mapping[bytes, str]) -> tuple[list[str], list[str]]:
    """The addresses and schemes that proxies have added, the nearest proxy's last."""
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
