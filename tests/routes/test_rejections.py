"""A rejected request leaves nothing behind, whatever the route and the status."""

import gc

import httpx
import pytest

from app.errors import ConvoscopeError
from tests.wire.test_pictures import FROG, form

BIG = bytes(1_000_000)


@pytest.mark.parametrize(
    ("path", "headers", "content", "status"),
    [
        ("/predict", {"Content-Type": "image/heic"}, b"\x00\x00\x00\x18ftypheic" + BIG, 415),
        ("/predict", {"Content-Type": "image/png"}, FROG[:200], 422),
        ("/predict", {"Content-Type": "image/png"}, b"\x89PNG\r\n\x1a\n" + BIG, 422),
        ("/predict", {"Content-Type": "application/json"}, b"{" + BIG, 400),
        ("/predict", {"Content-Type": "application/json"}, b'{"images": ["' + b"A" * 1_000_000 + b'"]}', 415),
        ("/predict", {"Content-Type": "application/x-npy"}, b"\x93NUMPY" + BIG, 400),
        ("/predict", {"Content-Type": "text/plain"}, BIG, 415),
        ("/predict", {"Content-Type": form()[0]}, form(("name=a; filename=a", BIG), ("name=b", FROG))[1], 415),
        ("/predict?model=nope", {"Content-Type": "image/png"}, BIG, 404),
        ("/predict?top_k=x", {"Content-Type": "image/png"}, BIG, 422),
        ("/feature-maps", {"Content-Type": "image/png"}, BIG, 415),
        ("/feature-maps?layer=nope", {"Content-Type": "image/png"}, FROG, 404),
        ("/feature-maps", {"Content-Type": "image/png", "Accept": "text/html"}, BIG, 406),
        ("/explain", {"Content-Type": "image/png"}, BIG, 415),
        ("/explain?label=nope", {"Content-Type": "image/png"}, FROG, 422),
        ("/convolve", {"Content-Type": "image/png"}, FROG + BIG, 422),
        ("/convolve?options={}", {"Content-Type": "application/x-npy"}, BIG, 400),
        ("/convolve", {"Content-Type": "application/json"}, b'{"input": [[1]], "mask": 5, "x": "%b"}' % BIG, 400),
        ("/convolve", {"Content-Type": "application/json"}, b'{"input": [[1]], "mask": "nope"}', 404),
        ("/convolve", {"Content-Type": "application/json"}, b'{"input": [[1]], "mask": [[1]], "stride": 0}', 422),
        ("/pool", {"Content-Type": "application/json"}, b'{"input": [[1, 2], [3]]}', 422),
        ("/pool", {"Content-Type": "application/json"}, b'{"input": [1], "size": 0}', 422),
    ],
)
def test_a_rejection_leaves_no_error_for_the_garbage_collector(
    client: httpx.Client, garbage: list[object], path: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    """An error that is part of a cycle keeps its traceback, the traceback its frames, and these the request's body."""
    for _ in range(3):
        answer = client.post(path, headers=headers, content=content)
        assert answer.status_code == status, answer.text
    gc.collect()
    assert [found for found in garbage if isinstance(found, ConvoscopeError)] == []
