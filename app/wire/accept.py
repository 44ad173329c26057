"""Which of the forms an answer can take the caller wants (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from app.errors import NotAcceptable

JSON, PNG, NPY, NPZ = "application/json", "image/png", "application/x-npy", "application/x-npz"


def choose(accept: str, offered: Sequence[str]) -> str:
    """The media type of `offered` that the header `accept` likes best; the first of several equals.

    Raises NotAcceptable, listing what is offered, where it takes none of them.
    """
    best, preferred = 0.0, ""
    for kind in offered:
        quality = max(
            ((specific, q) for pattern, specific, q in _ranges(accept) if _matches(pattern, kind)), default=(0, 0.0)
        )
        if quality[1] > best:
            best, preferred = quality[1], kind
    if not preferred:
        detail = f"Accept is {accept!r:.100}; expected one of {', '.join(offered)}"
        raise NotAcceptable.about("Accept", detail)
    return preferred


def _ranges(accept: str) -> list[tuple[str, int, float]]:
    """Each range of the header: its pattern, how specific that is, and its quality from 0 to 1."""
    ranges = []
    for part in (accept or "*/*").split(","):
        pattern, *parameters = (item.strip().lower() for item in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        ranges.append((pattern, -pattern.count("*"), quality))
    return ranges


def _matches(pattern: str, kind: str) -> bool:
    return pattern in ("*/*", kind, f"{kind.partition('/')[0]}/*")
