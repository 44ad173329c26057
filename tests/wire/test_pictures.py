import base64
import gc
import io
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.errors import ConvoscopeError, InvalidInput, MalformedRequest, TooLarge, UnsupportedPicture
from app.inference.metadata import Input
from app.settings import Settings
from app.wire import operand, pictures
from tests.conftest import PICTURES

INPUT = Input()
SETTINGS = Settings(models=Path("nowhere"))
FROG = (PICTURES / "frog.png").read_bytes()
PIXELS = np.asarray(Image.open(PICTURES / "frog.png").convert("RGB"))
TEXT = base64.b64encode(FROG).decode()


def npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def form(*parts: tuple[str, bytes]) -> tuple[str, bytes]:
    """A content type and a body whose parts have these headers (after `form-data; `) and contents."""
    lines = [b"--x\r\nContent-Disposition: form-data; " + h.encode() + b"\r\n\r\n" + c + b"\r\n" for h, c in parts]
    return "multipart/form-data; boundary=x", b"".join(lines) + b"--x--\r\n"


def as_json(*texts: object) -> tuple[str, bytes]:
    return "application/json", orjson.dumps({"images": texts})


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;charset=x;BASE64,{TEXT}",
        f"data:;base64,{quote(TEXT, safe='')}",
        TEXT.replace("+", "-").replace("/", "_"),
        TEXT.rstrip("="),
        "\r\n".join(TEXT[at : at + 76] for at in range(0, len(TEXT), 76)) + "\n",
        f"\t data:image/png;base64, {TEXT}".strip(),
    ],
)
def test_base64_is_read_as_people_send_it(text: str) -> None:
    assert pictures.from_base64(text) == FROG
    assert np.array_equal(pictures.every(*as_json(text), INPUT, SETTINGS)[0], PIXELS)


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_missing_padding_is_added(padding: int) -> None:
    content = b"x" * (9 - padding)
    assert pictures.from_base64(base64.b64encode(content).decode().rstrip("=")) == content


@pytest.mark.parametrize("length", range(5, 12))
@pytest.mark.parametrize("text", ["AAAA", "+/+/AA==", "-_- _AAA=", "A A\nA", "+/8=", "AA%3D%3D", "%2B%2f%2FAAAA%2B"])
def test_base64_is_the_same_wherever_it_is_cut(text: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"data:;base64,{text if '=' in text or '%3D' in text else text * 4}"
    whole = pictures.from_base64(url)
    monkeypatch.setattr(pictures, "SLICE", length)
    assert pictures.from_base64(url) == whole
    assert whole


@pytest.mark.parametrize("text", ["AA==AAAA", "AAA=A", "A=A=", "AAAA=AAA"])
@pytest.mark.parametrize("length", range(1, 9))
def test_base64_must_not_go_on_after_its_padding(text: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SLICE", length)
    with pytest.raises(ValueError, match=r"padding|[Ii]nvalid|[Ii]ncorrect|[Ee]xcess"):
        pictures.from_base64(text)


def test_long_base64_is_decoded_in_slices() -> None:
    content = np.random.default_rng(0).bytes(2 * pictures.SLICE + 1)
    assert pictures.from_base64(base64.b64encode(content).decode()) == content


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "not Base64: expected a string; found null"),
        (["x"], "expected a string"),
        ("é", "beyond ASCII"),
        ("a", "Base64"),
        ("ab!d", "Base64"),
        ("ab=d", "Base64"),
        ("data:image/png,abcd", "not as in data:image/png;base64,"),
        ("data:abcd", "not as in data:image/png;base64,"),
    ],
)
def test_what_is_not_base64_is_rejected_by_its_pointer(text: object, reason: str) -> None:
    with pytest.raises(InvalidInput) as error:
        pictures.every(*as_json(TEXT, text), INPUT, SETTINGS)
    ((field, detail),) = [(e.field, e.detail) for e in error.value.errors]
    assert field == "/images/1"
    assert reason in detail


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "application/x-www-form-urlencoded", "image/jpeg"])
@pytest.mark.parametrize("content", [FROG, npy(PIXELS), npy(PIXELS[None])])
def test_the_bytes_decide_where_the_type_does_not(kind: str, content: bytes) -> None:
    (found,) = pictures.every(kind, content, INPUT, SETTINGS)
    assert np.array_equal(found, PIXELS)
    assert np.array_equal(pictures.original(kind, content, SETTINGS), PIXELS)


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "image/jpeg"])
@pytest.mark.parametrize("content", [FROG, npy(PIXELS)])
def test_the_bytes_decide_what_is_convolved(kind: str, content: bytes) -> None:
    found, _ = operand.read(kind, content, "{}", SETTINGS)
    assert np.array_equal(found.values, PIXELS)
    assert found.picture == (content == FROG)


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_json_without_its_type_is_read(kind: str) -> None:
    assert len(pictures.every(kind, b" \n" + as_json(TEXT)[1], INPUT, SETTINGS)) == 1
    assert operand.read(kind, b'{"input": [1], "mask": [2]}', None, SETTINGS)[1] == {"mask": [2]}


def test_bytes_without_a_type_that_are_no_picture_are_rejected_with_what_was_expected() -> None:
    with pytest.raises(
        UnsupportedPicture, match=r"the bytes decide: .* or declare one of multipart/form-data"
    ) as error:
        pictures.every("", b"hello", INPUT, SETTINGS)
    assert [e.field for e in error.value.errors] == ["Content-Type"]


def test_an_npy_file_may_be_a_part_of_a_form() -> None:
    others = np.stack([PIXELS[::-1], PIXELS[:, ::-1]])
    body = form(('name=a; filename="a.png"', FROG), ("name=b; filename=b.npy", npy(others)))
    found = pictures.every(*body, INPUT, SETTINGS)
    assert np.array_equal(found, [PIXELS, *others])


def test_arrays_and_files_count_together() -> None:
    settings = Settings(models=Path("nowhere"), max_pictures=3)
    body = form(("name=a; filename=a", npy(np.stack([PIXELS] * 3))), ("name=b; filename=b", FROG))
    with pytest.raises(TooLarge, match="4 pictures in one request; expected at most 3"):
        pictures.every(*body, INPUT, settings)


def test_text_fields_of_a_form_are_not_pictures() -> None:
    body = form(("name=model", b"fast"), ("name=image", FROG), ("name=top_k", b"5"), ("name=x", "ü\n".encode()))
    found = pictures.received(*body, INPUT, SETTINGS)
    assert len(found.pictures) == 1
    assert found.fields == {"model": "fast", "top_k": "5", "x": "ü\n"}
    assert np.array_equal(pictures.one(*body, INPUT, SETTINGS), PIXELS)


def test_a_form_of_text_fields_only_is_rejected_by_name() -> None:
    with pytest.raises(UnsupportedPicture) as error:
        pictures.every(*form(("name=model", b"fast")), INPUT, SETTINGS)
    assert [e.field for e in error.value.errors] == ["model"]


def test_text_fields_of_a_form_are_options_of_a_convolution() -> None:
    body = form(("name=image; filename=a", FROG), ("name=mask", b"sobel_x"), ("name=stride", b"[2, 1]"))
    found, fields = operand.read(*body, None, SETTINGS)
    assert found.picture
    assert fields == {"mask": "sobel_x", "stride": [2, 1]}
    found, fields = operand.read(*form(("name=input", b"[[1, null]]"), ("name=mask", b"[[1]]")), None, SETTINGS)
    assert found.values.shape == (1, 2)
    assert fields == {"mask": [[1]]}


def test_floats_are_rejected_with_how_to_convert_them() -> None:
    with pytest.raises(
        InvalidInput, match=r"float64 .* convert .* with \(array \* 255\)\.round\(\)\.astype\('uint8'\)"
    ):
        pictures.every("application/x-npy", npy(PIXELS / 255), INPUT, SETTINGS)


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("image/heic", b"\x00\x00\x00\x18ftypheic"),
        ("image/png", FROG[:200]),
        ("image/png", b""),
        ("text/plain", b"hello"),
        ("", b"hello"),
        ("application/json", b"{"),
        as_json("aGVsbG8=", TEXT, TEXT[:200]),
        as_json("!"),
        ("application/x-npy", b"hello"),
        ("application/x-npy", npy(PIXELS / 255)),
        ("application/x-npy", npy(np.zeros((300, 1, 1, 3), np.uint8))),
        ("multipart/form-data; boundary=x", b"hello"),
        form(('name="a"; filename="a"', b"hello"), ('name="b"; filename="b"', FROG[:99])),
    ],
)
def test_a_rejection_keeps_nothing_alive(garbage: list[object], content_type: str, content: bytes) -> None:
    """A caught error that a local keeps is a cycle: error, traceback, frame, and in the frame the whole body."""
    for read in (pictures.every, pictures.one):
        with pytest.raises(ConvoscopeError):
            read(content_type, content, INPUT, SETTINGS)
    with pytest.raises(ConvoscopeError):
        pictures.original(content_type, content, SETTINGS)
    with suppress(ConvoscopeError):  # it takes more arrays
        operand.read(content_type, content, None, SETTINGS)
    gc.collect()
    kept = [repr(found) for found in garbage if isinstance(found, ConvoscopeError)]  # not themselves: pytest keeps them
    assert kept == []


def test_an_empty_body_is_malformed() -> None:
    with pytest.raises(MalformedRequest, match="the body is empty; expected an image or an array"):
        pictures.every("image/png", b"", INPUT, SETTINGS)
