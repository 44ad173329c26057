"""Content codings of a request's body (RFC 9110, section 8.4): gzip and deflate, bounded while they are inflated."""

import zlib

from app.errors import MalformedRequest, TooLarge, UnsupportedPicture

CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls the container of each; a `deflate` body is a zlib stream, or from some clients a bare one."""
BARE = -15


def decoded(content: bytes, coding: str, limit: int) -> bytes:
    """The body behind its Content-Encoding; `coding` is that header, empty if there was none.

    Raises UnsupportedPicture for a coding that is not one of CODINGS or for several, TooLarge as soon as more than
    `limit` bytes came out, and MalformedRequest if the data is corrupt, ends early or has something behind it.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return content
    if name not in CODINGS:
        detail = f"Content-Encoding is {coding!r:.80}; expected identity, gzip or deflate"
        raise UnsupportedPicture.about("Content-Encoding", detail)
    bare = name == "deflate" and not _is_zlib(content)
    try:
        return _inflated(content, BARE if bare else CODINGS[name], limit)
    except zlib.error as error:
        raise _corrupt(name, str(error)) from None
    except EOFError as error:
        raise _corrupt(name, str(error)) from None


def _inflated(content: bytes, container: int, limit: int) -> bytes:
    """Raises TooLarge, zlib.error, EOFError. A gzip body may have several members, one after the other."""
    pieces: list[bytes] = []
    size = 0
    rest: bytes = content
    while rest or not pieces:
        stream = zlib.decompressobj(container)
        pieces.append(stream.decompress(rest, limit - size + 1))
        size += len(pieces[-1])
        if size > limit:
            raise TooLarge.about("body", f"the body has more than {limit} bytes uncompressed; expected at most {limit}")
        if not stream.eof:
            raise EOFError("it ends early")
        rest = stream.unused_data
        if rest and container != CODINGS["gzip"]:
            raise EOFError(f"{len(rest)} bytes follow its end")
    return b"".join(pieces)


def _is_zlib(content: bytes) -> bool:
    """Whether it begins as a zlib stream does (RFC 1950, section 2.2)."""
    return len(content) > 1 and content[0] & 0x0F == 8 and int.from_bytes(content[:2]) % 31 == 0


def _corrupt(name: str, reason: str) -> MalformedRequest:
    return MalformedRequest.about("body", f"the body is not {name}, as Content-Encoding says: {reason:.100}")
