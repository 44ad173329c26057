"""multipart/form-data bodies (RFC 7578) to named parts, in memory and in one pass."""

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import MalformedRequest, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong is told the caller, not the log


@dataclass(slots=True)
class _Part:
    name: str = ""
    header: bytes = b""
    value: bytes = b""
    data: list[bytes] = field(default_factory=list)


class _Reader:
    """Collects what the parser calls back with."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[_Part] = []
        self.ended = False

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header,
            "on_header_value": self._value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == self.limit:
            detail = f"the body has more than {self.limit} parts; expected at most {self.limit} in one request"
            raise TooLarge.about("body", detail)
        self.parts.append(_Part())

    def _header(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].header += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].value += data[start:end]

    def _header_end(self) -> None:
        part = self.parts[-1]
        if part.header.lower() == b"content-disposition":
            part.name = parse_options_header(part.value)[1].get(b"name", b"").decode("utf-8", "replace")
        part.header = part.value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data.append(data[start:end])

    def _end(self) -> None:
        self.ended = True


def parse(body: bytes, boundary: bytes, limit: int) -> list[tuple[str, bytes]]:
    """The (name, content) of each part, in order; a name that comes more than once is numbered, as in `image[0]`.

    Raises MalformedRequest for a body that is not multipart, ends before its last boundary or has no parts, TooLarge
    for more than `limit` parts.
    """
    reader = _Reader(limit)
    try:
        if not boundary:
            raise FormParserError("the content type names no boundary")
        MultipartParser(boundary, reader.callbacks()).write(_without_preamble(body, b"--" + boundary))
        if not reader.ended:
            raise FormParserError("it ends before its closing boundary")
        if not reader.parts:
            raise FormParserError("it has no parts")
    except FormParserError as error:
        raise MalformedRequest.about("body", f"the body is not multipart: {error}") from error
    names = [part.name or "part" for part in reader.parts]
    numbered = [name if names.count(name) == 1 else f"{name}[{names[:i].count(name)}]" for i, name in enumerate(names)]
    return [(name, b"".join(part.data)) for name, part in zip(numbered, reader.parts, strict=True)]


def _without_preamble(body: bytes, delimiter: bytes) -> bytes:
    """What is left of a body when the words before its first boundary are ignored (RFC 2046, section 5.1.1)."""
    first = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter)
    return body[first + 2 :] if first > 0 else body
