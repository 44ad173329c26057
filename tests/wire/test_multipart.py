import pytest

from app.errors import MalformedRequest, TooLarge
from app.wire import multipart
from app.wire.multipart import Part

BODY = (
    b'--xx\r\nContent-Disposition: form-data; name="cat"; filename="c.png"\r\nContent-Type: image/png\r\n\r\nA\r\nB\r\n'
    b'--xx\r\nContent-Disposition: form-data; name="dog"\r\n\r\n\r\n--xx--\r\n'
)


def test_parts_come_in_order_with_their_names_and_bytes() -> None:
    assert multipart.parse(BODY, "xx", 2) == [Part("cat", b"A\r\nB"), Part("dog", b"", text=True)]


def test_what_stands_before_the_first_boundary_is_ignored() -> None:
    assert multipart.parse(b"--x Not for\r\nyou\r\n" + BODY, "xx", 2) == multipart.parse(BODY, "xx", 2)
    assert multipart.parse(b"\r\n" + BODY, "xx", 2) == multipart.parse(BODY, "xx", 2)


def test_a_repeated_name_is_numbered() -> None:
    part = b'--xx\r\nContent-Disposition: form-data; name="image"\r\n\r\n%d\r\n'
    body = part % 1 + part % 2 + b"--xx--\r\n"
    assert [part.name for part in multipart.parse(body, "xx", 2)] == ["image[0]", "image[1]"]


def test_a_part_without_a_name_is_called_part() -> None:
    assert multipart.parse(b"--xx\r\nContent-Type: image/png\r\n\r\nA\r\n--xx--\r\n", "xx", 1) == [Part("part", b"A")]


@pytest.mark.parametrize("end", [1, 10, 60, 100, len(BODY) - 6])
def test_a_body_cut_short_is_malformed(end: int) -> None:
    with pytest.raises(MalformedRequest, match="not multipart"):
        multipart.parse(BODY[:end], "xx", 2)


@pytest.mark.parametrize("boundary", ["", "other", "x" * 300, "\x00é☃"])
def test_a_missing_or_wrong_boundary_is_malformed(boundary: str) -> None:
    with pytest.raises(MalformedRequest, match="not multipart"):
        multipart.parse(BODY, boundary, 2)


def test_more_parts_than_allowed_are_refused() -> None:
    with pytest.raises(TooLarge, match="expected at most 1"):
        multipart.parse(BODY, "xx", 1)
