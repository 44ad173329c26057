"""Content codings of a request's body (RFC 9110, section 8.4): gzip and deflate, bounded while they are inflated."""

import io
import zlib
from collections.abc import Callable

from app.errors import MalformedRequest, TooLarge, UnsupportedPicture

CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls the container of each; a `deflate` body is a zlib stream, or from some clients a bare one."""
BARE = -15
PIECE = 1 << 16
"""Bytes inflated at once; they become at most a thousand times as many."""
MOST = 1 << 20
"""Bytes that come out at once."""
MAX_MEMBERS = 10_000
"""Of a gzip body: each takes time even if it is empty; bgzip writes one for 64 KB, or 1,000 for 64 MB."""


Hold = Callable[[int], None]
"""Called with the number of further bytes before they are kept; raises Overloaded if there is no room for them."""


def decoded(content: bytes, coding: str, limit: int, hold: Hold) -> bytes:
    """The body behind its Content-Encoding; `coding` is that header, empty if there was none.

    Raises what `hold` raises, UnsupportedPicture for a coding that is not one of CODINGS or for several,
    TooLarge as soon as more than `limit` bytes came out, or for more than MAX_MEMBERS, and MalformedRequest if the
    data is corrupt, ends early or has something behind it.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return content
    if name not in CODINGS:
        detail = f"Content-Encoding is {coding!r:.80}; expected identity, gzip or deflate"
        raise UnsupportedPicture.about("Content-Encoding", detail)
    bare = name == "deflate" and not _is_zlib(content)
    try:
        return _inflated(content, BARE if bare else CODINGS[name], limit, hold)
    except zlib.error as error:
        raise _corrupt(name, str(error)) from None
    except EOFError as error:
        raise _corrupt(name, str(error)) from None


def _inflated(content: bytes, container: int, limit: int, hold: Hold) -> bytes:
    """Raises TooLarge, zlib.error, EOFError. A gzip body may have several members, one after the other."""
    whole, stream, members = io.BytesIO(), zlib.decompressobj(container), 1
    for at in range(0, len(content), PIECE):
        rest, more = content[at : at + PIECE], True
        while more:
            if stream.eof:
                if container != CODINGS["gzip"]:
                    raise EOFError(f"{len(rest) + len(content[at + PIECE :])} bytes follow its end")
                members += 1
                if members > MAX_MEMBERS:
                    detail = f"the gzip body has more than {MAX_MEMBERS} members; expected at most {MAX_MEMBERS}"
                    raise TooLarge.about("body", detail)
                stream = zlib.decompressobj(container)
            piece = stream.decompress(rest, MOST)
            if whole.tell() + len(piece) > limit:
                detail = f"the body has more than {limit} bytes uncompressed; expected at most {limit}"
                raise TooLarge.about("body", detail)
            hold(len(piece))
            whole.write(piece)
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
            more = bool(rest) or (len(piece) == MOST and not stream.eof)
    if not stream.eof:
        raise EOFError("it ends early")
    return whole.getvalue()


def _is_zlib(content: bytes) -> bool:
    """Whether it begins as a zlib stream does (RFC 1950, section 2.2)."""
    return len(content) > 1 and content[0] & 0x0F == 8 and int.from_bytes(content[:2]) % 31 == 0


def _corrupt(name: str, reason: str) -> MalformedRequest:
    return MalformedRequest.about("body", f"the body is not {name}, as Content-Encoding says: {reason:.100}")
