"""Media types: what a Content-Type declares, and which answer an Accept header prefers (RFC 9110)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from app.errors import NotAcceptable

JSON, PNG, NPY, NPZ = "application/json", "image/png", "application/x-npy", "application/x-npz"
MULTIPART = "multipart/form-data"
UNTYPED = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""What clients send that do not name a type; the last is curl's choice for `--data-binary`."""

MAX_ACCEPT = 2000
"""Characters. Browsers send about 150."""

PARAMETER = re.compile(r""";\s*([!#$%&'*+.^_`|~\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)""")


def parameters(header: str) -> tuple[str, dict[str, str]]:
    """The value before the first semicolon, in lower case, and the parameters after it; their names in lower case.

    For Content-Type and Content-Disposition, as in `form-data; name="image"`.
    """
    kind, _, rest = header.partition(";")
    found = {match[1].lower(): _unquoted(match[2]) for match in PARAMETER.finditer(f";{rest}")} if rest else {}
    return kind.strip().lower(), found


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value.strip()


def choose(accept: str, offered: Sequence[str]) -> str:
    """The media type among `offered` that the header `accept` prefers; the first of several that it likes equally.

    Raises NotAcceptable, listing `offered`, if the header allows none of them or has more than MAX_ACCEPT characters.
    """
    if len(accept) > MAX_ACCEPT:
        detail = f"Accept has {len(accept)} characters; expected at most {MAX_ACCEPT}"
        raise NotAcceptable.about("Accept", detail)
    ranges = [_range(part) for part in (accept or "*/*").split(",")]
    qualities = [_quality(media_type, ranges) for media_type in offered]
    if not max(qualities) > 0:
        detail = f"Accept is {accept!r:.100}; expected one of {', '.join(offered)}"
        raise NotAcceptable.about("Accept", detail)
    return offered[qualities.index(max(qualities))]


class _Range(NamedTuple):
    """One element of an Accept header."""

    pattern: str
    quality: float
    """0 to 1."""


def _range(part: str) -> _Range:
    pattern, *parameters = (item.strip().lower() for item in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            quality = float(value) if re.fullmatch(r"\s*[01](\.\d*)?\s*", value) else 0.0
    return _Range(pattern, quality)


def _quality(media_type: str, ranges: Sequence[_Range]) -> float:
    """The quality that the most specific matching range gives; 0 if none matches."""
    patterns = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    for pattern in patterns:
        if found := [r.quality for r in ranges if r.pattern == pattern]:
            return max(found)
    return 0.0
