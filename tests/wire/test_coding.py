"""Compressed bodies, inflated piece by piece."""

import gzip
import zlib

import numpy as np
import pytest

from app.errors import MalformedRequest, Overloaded, TooLarge
from app.server.in_flight import InFlight
from app.settings import Settings
from app.wire import coding

NOISE = np.random.default_rng(0).bytes(300_000)
ZEROS = bytes(3_000_000)


def compressed(content: bytes, container: int) -> bytes:
    stream = zlib.compressobj(wbits=container)
    return stream.compress(content) + stream.flush()


@pytest.mark.parametrize("content", [b"", b"a", NOISE, ZEROS, NOISE + ZEROS + NOISE], ids=len)
@pytest.mark.parametrize(("name", "container"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_what_was_compressed_comes_back_and_every_byte_is_counted(content: bytes, name: str, container: int) -> None:
    held: list[int] = []
    assert coding.decoded(compressed(content, container), name, len(content), held.append) == content
    assert sum(held) == len(content)
    assert max(held, default=0) <= coding.MOST


def test_several_members_of_gzip_are_one_body() -> None:
    content = b"".join(gzip.compress(part) for part in (b"a", NOISE, b"", ZEROS))
    assert coding.decoded(content, "gzip", 10_000_000, lambda size: None) == b"a" + NOISE + ZEROS


@pytest.mark.parametrize("name", ["gzip", "x-gzip"])
def test_no_more_members_of_gzip_are_read_than_their_limit(name: str) -> None:
    empty = gzip.compress(b"")
    assert coding.decoded(empty * coding.MAX_MEMBERS, name, 100, lambda size: None) == b""
    with pytest.raises(TooLarge, match="more than 10000 members"):
        coding.decoded(empty * (coding.MAX_MEMBERS + 1), name, 100, lambda size: None)


@pytest.mark.parametrize("junk", [b"x", NOISE])
def test_what_follows_a_deflated_body_is_counted(junk: bytes) -> None:
    with pytest.raises(MalformedRequest, match=f"{len(junk)} bytes follow its end"):
        coding.decoded(zlib.compress(NOISE) + junk, "deflate", 10_000_000, lambda size: None)


def test_a_body_is_not_inflated_further_than_its_limit() -> None:
    held: list[int] = []
    with pytest.raises(TooLarge, match="more than 2000000 bytes"):
        coding.decoded(gzip.compress(ZEROS), "gzip", 2_000_000, held.append)
    assert sum(held) <= 2_000_000


def test_inflated_bodies_count_among_all_bodies_in_flight() -> None:
    in_flight = InFlight(Settings(max_body=1_000_000, max_bodies=4_000_000))
    with in_flight.inflating() as hold:
        assert len(coding.decoded(gzip.compress(ZEROS), "gzip", 3_000_000, hold)) == 3_000_000
        with in_flight.inflating() as other, pytest.raises(Overloaded, match="3000000 bytes already"):
            other(1_000_001)
        with pytest.raises(Overloaded, match="have 3000000 bytes already"):
            in_flight.hold({"type": "http.request", "body": bytes(1_000_001)})
        assert in_flight.hold({"type": "http.request", "body": bytes(1_000_000)}) == 1_000_000
    in_flight.release(1_000_000)
    assert in_flight.hold({"type": "http.request", "body": bytes(4_000_000)}) == 4_000_000
