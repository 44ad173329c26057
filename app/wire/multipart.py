"""multipart/form-data bodies (RFC 7578) to named parts, in memory and in one pass."""

import re
from collections import Counter
from typing import NamedTuple

from app.errors import MalformedRequest, TooLarge
from app.wire.media_types import parameters

MAX_BOUNDARY = 70
"""Characters (RFC 2046, section 5.1.1)."""

MAX_HEAD = 8192
"""Bytes of one part's headers."""

MAX_TEXT = 4096
"""Bytes of one text field that holds an option."""


FOLD = re.compile(r"\r\n[ \t]+")
"""A line break within a header (RFC 5322, section 2.2.3)."""

CODINGS = ("", "binary", "8bit", "7bit")
"""Content-Transfer-Encodings that leave bytes as they are. RFC 7578, section 4.7, deprecates all of them."""

STEP = 1 << 22
"""Bytes searched at once; other threads run between steps."""

CONTROLS = bytes(code for code in range(32) if chr(code) not in "\r\n\t")


class Part(NamedTuple):
    """One part of a form."""

    name: str
    """A name that comes more than once is numbered, as in `image[0]`."""
    content: bytes
    text: bool = False
    """Whether it is a text field, not a file: it has no file name, and is declared as text or not at all."""


def parse(body: bytes, boundary: str, limit: int) -> list[Part]:
    """The parts of a form, in order.

    Raises MalformedRequest if the body is not multipart, ends before its last boundary or has no parts, and TooLarge
    if it has more than `limit` parts.
    """
    try:
        parts = [_part(body, start, end) for start, end in _slices(body, boundary, limit)]
    except ValueError as error:
        raise MalformedRequest.about("body", f"the body is not multipart: {error}") from None
    if not parts:
        raise MalformedRequest.about("body", "the body is not multipart: it has no parts")
    return _numbered(parts)


def _numbered(parts: list[Part]) -> list[Part]:
    counts, seen = Counter(part.name for part in parts), Counter[str]()
    numbered = []
    for part in parts:
        repeated = counts[part.name] > 1
        numbered.append(part._replace(name=f"{part.name}[{seen[part.name]}]") if repeated else part)
        seen[part.name] += 1
    return numbered


def _slices(body: bytes, boundary: str, limit: int) -> list[tuple[int, int]]:
    """Where each part begins, at the line break before its headers, and ends. Raises ValueError, TooLarge."""
    if not 1 <= len(boundary) <= MAX_BOUNDARY:
        raise ValueError(f"its boundary has {len(boundary)} characters; expected 1 to {MAX_BOUNDARY}")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    # What precedes the first boundary is ignored (RFC 2046, section 5.1.1).
    first = -2 if body.startswith(delimiter[2:]) else _found(body, delimiter, 0)
    at = first + len(delimiter)
    slices: list[tuple[int, int]] = []
    while not body.startswith(b"--", at):
        start = body.find(b"\r\n", at, at + MAX_BOUNDARY)
        if start < 0 or body[at:start].strip(b" \t"):
            raise ValueError("a boundary is followed by something other than a line break (CR LF)")
        if len(slices) == limit:
            detail = f"the body has more than {limit} parts; expected at most {limit} in one request"
            raise TooLarge.about("body", detail)
        end = _found(body, delimiter, start)
        slices.append((start, end))
        at = end + len(delimiter)
    return slices


def _found(body: bytes, delimiter: bytes, start: int) -> int:
    for at in range(start, len(body), STEP):
        found = body.find(delimiter, at, at + STEP + len(delimiter) - 1)
        if found >= 0:
            return found
    raise ValueError("it ends before its closing boundary" if start else "its boundary is not in it")


def _part(body: bytes, start: int, end: int) -> Part:
    """The part whose headers follow the line break at `start`, and whose content ends at `end`. Raises ValueError."""
    head_end = body.find(b"\r\n\r\n", start, min(end, start + MAX_HEAD))
    if head_end < 0:
        raise ValueError(f"a part has no blank line (CR LF) after its headers, within {MAX_HEAD} bytes")
    lines = FOLD.sub(" ", body[start:head_end].decode("utf-8", "replace")).split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if (coding := headers.get("content-transfer-encoding", "").lower()) not in CODINGS:
        raise ValueError(f"a part's Content-Transfer-Encoding is {coding!r:.80}; expected its bytes as they are")
    _, disposition = parameters(headers.get("content-disposition", ""))
    kind, _ = parameters(headers.get("content-type", ""))
    content = body[head_end + 4 : end]
    named = disposition.keys() & {"filename", "filename*"}
    text = not named and kind in ("", "text/plain", "application/json") and "name" in disposition
    return Part(disposition.get("name") or "part", content, text and _is_text(content))


def _is_text(content: bytes) -> bool:
    """Whether it is UTF-8 without control characters but line breaks and tabs; no image format we read is."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return len(content.translate(None, CONTROLS)) == len(content)
