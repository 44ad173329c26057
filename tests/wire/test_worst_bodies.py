"""Nothing that a client sends stops the event loop: the worst bodies of each kind, and /healthz meanwhile."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import assert_health_answers, assert_problem
from tests.wire.test_pictures import form, npy

JSON = "application/json"
LAB = io.BytesIO()
Image.new("LAB", (8, 8)).save(LAB, "TIFF")  # whose conversion takes 20 ms
BIG = 20_000_000
FORM = "multipart/form-data; boundary=x"
HEAD = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "kind", "content", "status"),
    [
        ("/convolve", JSON, b'{"input":[1],"mask":[1],"padding":[' + b'"a",' * 990_000 + b"1]}", 413),
        ("/convolve", JSON, b'{"input":[1],"mask":[1],"padding":[' + b"null," * 990_000 + b"1]}", 422),
        ("/convolve", JSON, b"{" + b'"aa":1,' * 900_000 + b'"input":[1],"mask":[1]}', 413),
        ("/convolve", JSON, b"{" + b'"aa":1,' * 9_000 + b'"input":[1],"mask":[1]}', 422),
        ("/convolve", JSON, b'{"mask":[[1]],"input":[' + b"[1]," * 900_000 + b"[1]]}", 413),
        ("/convolve", JSON, b'{"mask":[1],"input":[' + b"{}," * 900_000 + b"1]}", 413),
        ("/pool", JSON, b'{"input":[1],"size":[' + b"[]," * 200_000 + b"1]}", 422),
        ("/convolve", JSON, b'{"input":[1],"mask":"' + b"a" * BIG + b'"}', 422),
        ("/predict", JSON, b'{"images":["' + b"A" * BIG + b'"]}', 415),
        ("/predict", JSON, b'{"images":["data:image/png;base64,' + b"%41" * (BIG // 3) + b'"]}', 422),
        ("/predict", JSON, b'{"images":["' + b"A \\n" * (BIG // 4) + b'"]}', 415),
        ("/predict", JSON, b'{"a":1' + b',"bb":1' * 900_000 + b"}", 413),
        ("/predict", FORM, HEAD + b"\r\n--" * (BIG // 4) + b"\r\n--x--", 415),
        ("/predict", FORM, b"--x\r\nA: b\r\n\r\n\r\n" * (BIG // 15) + b"--x--", 413),
        ("/predict", FORM, b"--x\r\n" + b"A: b\r\n" * (BIG // 6) + b"\r\n\r\n--x--", 400),
        ("/predict", *form(*[("name=a", b"b")] * 280), 413),
        ("/predict", *form(*[("name=a", LAB.getvalue())] * 40), 200),
        ("/predict", "multipart/form-data" + ";a=b" * 10_000, b"x", 400),
        ("/predict", "application/x-npy", npy(np.zeros((64, 1, 1, 3), np.uint8))[:-1], 400),
    ],
)
def test_health_answers_while_a_bad_body_is_read(
    client: httpx.Client, path: str, kind: str, content: bytes, status: int
) -> None:
    def post() -> None:
        answer = client.post(path, content=content, headers={"Content-Type": kind})
        assert answer.status_code == status, answer.text
        assert len(answer.content) < 100_000

    assert_health_answers(client, post, 0.1)


def test_an_endless_accept_header_is_rejected(client: httpx.Client) -> None:
    answer = client.post("/convolve", json={"input": [1], "mask": [1]}, headers={"Accept": "," * 60_000})
    assert_problem(answer, 406, "not-acceptable", "Accept")


@pytest.mark.parametrize(("path", "query"), [("/feature-maps", "&channels=a" * 5000), ("/predict", "&a=1" * 15_000)])
def test_endless_queries_get_short_answers(client: httpx.Client, path: str, query: str) -> None:
    answer = client.post(f"{path}?{query}", content=b"x", headers={"Content-Type": "image/png"})
    assert answer.status_code == 422
    assert len(answer.content) < 100_000


@pytest.mark.parametrize("path", ["/predict", "/convolve?options={}", "/feature-maps", "/explain"])
def test_an_npy_shape_of_thousands_of_digits_is_malformed(client: httpx.Client, path: str) -> None:
    header = b"{'descr':'|u1','fortran_order':False,'shape':(1,0x" + b"f" * 4000 + b",1,3)}\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    answer = client.post(path, content=content, headers={"Content-Type": "application/x-npy"})
    assert_problem(answer, 400, "malformed-request", "body")
