"""Which hosts and origins requests may name, so that a web page elsewhere cannot use a service on this computer.

A page on any site can make a browser send a form to 127.0.0.1. If the site then points its own host name at that
address ("DNS rebinding"), the page can read the answers too. The headers show both: `Origin` names the page's site, and
`Host` the name that the browser used.
"""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from app.errors import Forbidden

ANY = "*"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Origins:
    """Checks each request's `Host` and `Origin`."""

    def __init__(self, host: str, allowed_hosts: str, cors_origins: str = "") -> None:
        """`host` is what the service listens on; `allowed_hosts` the setting, names with commas between them.

        If it is empty, a service that listens on a loopback address answers only to this computer's names, and any
        other service to all names. Pages of the origins in `cors_origins` (the setting) may call the service too.
        """
        given = frozenset(name.strip().lower() for name in allowed_hosts.split(",") if name.strip())
        self.allowed = given or (LOOPBACK if is_loopback(host) else frozenset({ANY}))
        self._any = ANY in self.allowed
        self._is_allowed = lru_cache(maxsize=16)(self._is_among_allowed)
        self._origins = frozenset(origin.strip().lower() for origin in cors_origins.split(",") if origin.strip())

    def check(self, scope: Scope) -> None:
        """Raise Forbidden for a request under a name that is not allowed, or from another site's page."""
        if self._any:
            return
        host = origin = site = ""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1").lower()
            elif name == b"origin":
                origin = value.decode("latin-1").lower()
            elif name == b"sec-fetch-site":
                site = value.decode("latin-1").lower()
        if host and not self._is_allowed(host):
            raise Forbidden.about("Host", f"Host is {host!r:.80}; expected {self._expected()}")
        known = not origin or origin in self._origins or ANY in self._origins or self._is_allowed(urlsplit_host(origin))
        if not known and scope["method"] not in ("GET", "OPTIONS"):
            raise Forbidden.about("Origin", f"Origin is {origin!r:.80}; expected a page of {self._expected()}")
        if site == "cross-site" and not origin and scope["method"] not in ("GET", "OPTIONS"):
            raise Forbidden.about("Sec-Fetch-Site", f"another site's page sent this; expected {self._expected()}")

    def _is_among_allowed(self, host: str) -> bool:
        return host in self.allowed or without_port(host) in self.allowed

    def _expected(self) -> str:
        return f"{', '.join(sorted(self.allowed))} (CONVOSCOPE_ALLOWED_HOSTS changes that)"


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this computer only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_port(host: str) -> str:
    """`localhost:8000` as `localhost`, `[::1]:8000` as `[::1]`."""
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() and (name.endswith("]") or ":" not in name) else host


def urlsplit_host(origin: str) -> str:
    """The host and port of an origin; of `null`, and of what is not an origin, the text itself."""
    try:
        return urlsplit(origin).netloc or origin
    except ValueError:
        return origin
