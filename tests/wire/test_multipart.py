import pytest

from app.errors import MalformedRequest, TooLarge
from app.wire import multipart
from app.wire.multipart import Part
from tests.conftest import processor_seconds

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


@pytest.mark.parametrize("size", [-2, -1, 0, 1])
def test_a_boundary_is_found_wherever_the_search_is_split(size: int) -> None:
    content = b"\r\n--x" * ((multipart.STEP + size) // 5) + b"A"
    body = b'--xx\r\nContent-Disposition: form-data; name="cat"; filename="c"\r\n\r\n' + content + b"\r\n--xx--"
    assert multipart.parse(body, "xx", 1) == [Part("cat", content)]


def test_a_text_field_has_no_file_name_and_no_control_characters() -> None:
    head = b"--x\r\nContent-Disposition: form-data; name=a"
    typed = head + b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nfast\r\n"
    named = head + b"; filename*=UTF-8''a\r\n\r\nfast\r\n"
    binary = head + b"\r\n\r\nGIF89a\0\0\r\n"
    latin = head + b"\r\n\r\n\xff\xd8\r\n"
    body = typed + named + binary + latin + b"--x--"
    assert [part.text for part in multipart.parse(body, "x", 4)] == [True, False, False, False]


@pytest.mark.parametrize("head", [b"A: b\r\n" * 9000, b"A" * 100_000])
def test_endless_part_headers_are_malformed(head: bytes) -> None:
    with pytest.raises(MalformedRequest, match="within 8192 bytes"):
        multipart.parse(b"--x\r\n" + head + b"\r\n\r\nA\r\n--x--", "x", 1)


def test_a_header_may_go_on_in_the_next_line() -> None:
    head = b'Content-Disposition: form-data;\r\n name="cat";\r\n\tfilename="c.png"'
    assert multipart.parse(b"--x\r\n" + head + b"\r\n\r\nA\r\n--x--", "x", 1) == [Part("cat", b"A")]


@pytest.mark.parametrize("coding", ["base64", "Quoted-Printable", "x-uuencode"])
def test_a_part_that_says_its_bytes_are_coded_is_refused(coding: str) -> None:
    body = b"--x\r\nContent-Transfer-Encoding: %s\r\n\r\nA\r\n--x--"
    with pytest.raises(MalformedRequest, match=f"Content-Transfer-Encoding is '{coding.lower()}'"):
        multipart.parse(body % coding.encode(), "x", 1)


def test_many_parts_of_one_long_name_are_numbered_quickly() -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="' + bytes([110]) * 8000 + b'"\r\n\r\n\r\n'
    body = part * 2000 + b"--x--"
    with processor_seconds(2):
        parts = multipart.parse(body, "x", 2000)
    assert parts[-1].name.endswith("[1999]")
