"""The head of a request, its line and headers, once the parser has read it."""

import re
from typing import NamedTuple

import httptools

from app.errors import MalformedRequest

HOST = re.compile(rb"[^\s/?#@,]*")
ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


class Head(NamedTuple):
    """What the parser has read."""

    method: bytes
    target: bytes
    """The URL as it came, in any of the forms of RFC 9112, section 3.2."""
    version: str
    headers: list[tuple[bytes, bytes]]
    """Names in lower case, and values."""

    def split(self) -> tuple[bytes, bytes]:
        """The path and the query of the target. Raises MalformedRequest for what the parser lets pass."""
        if self.method == b"CONNECT":
            raise MalformedRequest.about("request", "CONNECT asks for a tunnel; this service offers none")
        self._check_host()
        for name, value in self.headers:
            if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                raise MalformedRequest.about("Transfer-Encoding", f"found {value!r:.80}; expected chunked or none")
        try:
            url = httptools.parse_url(self.target)
        except httptools.HttpParserInvalidURLError:
            if self.target == b"*":  # of OPTIONS: the whole service
                return b"/*", b""
            detail = f"its target is {self.target!r:.80}; expected a path such as /"
            raise MalformedRequest.about("request", detail) from None
        return url.path or b"/", url.query or b""  # http://host has no slash

    def replace_host(self) -> None:
        """Put the host of an absolute target in the place of Host (RFC 9112, 3.2.2). Raises MalformedRequest."""
        if self.target.startswith(b"/") or self.target == b"*":
            return
        absolute = ABSOLUTE.match(self.target)
        if not absolute or not absolute[1] or not HOST.fullmatch(absolute[1]):
            detail = f"its target is {self.target!r:.80}; expected a path such as /, or http:// and a host"
            raise MalformedRequest.about("request", detail)
        self.headers[:] = [(b"host", absolute[1]), *(header for header in self.headers if header[0] != b"host")]

    def _check_host(self) -> None:
        named = [value for name, value in self.headers if name == b"host"]
        if len(named) == 1 and HOST.fullmatch(named[0].strip()):
            return
        if named or self.version == "1.1":
            found = [value.decode("latin-1") for value in named[:3]]
            raise MalformedRequest.about("Host", f"Host is {found!r:.80}; expected one, as RFC 9112 demands")

    def without_upgrade(self) -> bytes:
        """The head as it came, but without the header `Upgrade`."""
        line = b"%b %b HTTP/%b" % (self.method, self.target, self.version.encode())
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((line, *headers, b"", b""))
