import base64
import io
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image

from app import imaging
from app.deadline import Deadline
from app.errors import DeadlineExceeded, InvalidInput, UnsupportedPicture
from app.inference.engine import Engine
from app.inference.metadata import Input
from app.inference.network import Network
from app.inference.prediction import ood_scores
from app.settings import Settings
from app.wire import pictures
from tests.conftest import PICTURES, ClientFactory, assert_health_answers, assert_problem, until

INPUT = Input()

Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_with(shape: str, data: bytes) -> bytes:
    """An npy file of bytes whose header tells of `shape`."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def encoded(format: str, picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format)
    return buffer.getvalue()


def post(client: httpx.Client, content: bytes | Iterator[bytes], kind: str, **params: str | int) -> httpx.Response:
    return client.post("/predict", content=content, headers={"Content-Type": kind}, params=params)


def post_npy(client: httpx.Client, array: NDArray[Any], **params: str | int) -> httpx.Response:
    return post(client, npy(array), "application/x-npy", **params)


def post_json(client: httpx.Client, *pictures: bytes) -> httpx.Response:
    return client.post("/predict", json={"images": [base64.b64encode(p).decode() for p in pictures]})


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.slow), "int8"])
@pytest.mark.parametrize("name", ["accurate", "fast"])
def test_pictures_are_typical_and_what_is_no_picture_of_anything_is_not(
    make_client: ClientFactory, cifar10: Cifar10, name: str, precision: str
) -> None:
    images, _ = cifar10
    shuffled = images.reshape(-1, 4, 8, 32, 3)[:, [2, 0, 3, 1]].reshape(images.shape)
    found = [
        post_npy(make_client(precision=precision), array, model=name).json()["predictions"]
        for array in (images, np.rot90(255 - images, axes=(1, 2)), shuffled)
    ]
    assert np.mean([p["is_ood"] for p in found[0]]) <= 0.1
    typical, negatives, rows = (np.array([p["ood_score"] for p in answers]) for answers in found)
    assert 0.4 < np.median(typical) < 0.6
    assert np.mean(typical[:, None] < negatives) > 0.9
    assert np.mean(typical[:, None] < rows) > 0.75


def test_the_share_of_more_typical_pictures_is_read_from_their_quantiles() -> None:
    found = ood_scores(np.array([-2, 0, 0.5, 1, 2, 3], np.float32), [0, 1, 2])
    assert found.tolist() == [1, 1, 0.75, 0.5, 0, 0]


def test_the_answer_is_as_documented(client: httpx.Client, frog: bytes) -> None:
    response = post(client, frog, "image/png")
    assert response.status_code == 200
    body = response.json()
    assert body["model"] == "accurate"
    assert body["version"] == client.get("/models/accurate").json()["version"]
    (prediction,) = body["predictions"]
    assert prediction.keys() == {"label", "index", "probability", "ood_score", "is_ood", "top"}
    assert (prediction["label"], prediction["index"], prediction["is_ood"]) == ("frog", 6, False)
    assert 0.5 < prediction["probability"] <= 1
    assert 0 <= prediction["ood_score"] <= 0.95
    assert len(prediction["top"]) == 3
    assert prediction["top"][0] == {key: prediction[key] for key in ("label", "index", "probability")}
    probabilities = [label["probability"] for label in prediction["top"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_ten_labels_probabilities_sum_to_one(client: httpx.Client, frog: bytes) -> None:
    (prediction,) = post(client, frog, "image/png", top_k=10).json()["predictions"]
    assert {label["index"] for label in prediction["top"]} == set(range(10))
    assert sum(label["probability"] for label in prediction["top"]) == pytest.approx(1)


@pytest.mark.parametrize(("model", "at_least"), [("accurate", 180), ("fast", 180), ("tutorial", 80)])
def test_real_pictures_get_the_right_labels(client: httpx.Client, cifar10: Cifar10, model: str, at_least: int) -> None:
    images, labels = cifar10
    predictions = post_npy(client, images, model=model, top_k=1).json()["predictions"]
    assert sum(p["index"] == label for p, label in zip(predictions, labels, strict=True)) >= at_least


def test_the_four_forms_agree(client: httpx.Client) -> None:
    files = [PICTURES / f"{label}.png" for label in ("cat", "ship", "truck")]
    contents = [file.read_bytes() for file in files]
    arrays = np.stack([np.array(Image.open(file)) for file in files])
    multipart = client.post("/predict", files=[("any name", (f.name, f.read_bytes(), "image/png")) for f in files])
    answers = [
        multipart.json()["predictions"],
        post_json(client, *contents).json()["predictions"],
        post_npy(client, arrays).json()["predictions"],
        [post(client, content, "image/png").json()["predictions"][0] for content in contents],
    ]
    assert [p["label"] for p in answers[0]] == ["cat", "ship", "truck"]
    for answer in answers[1:]:
        assert [p["label"] for p in answer] == [p["label"] for p in answers[0]]
        assert [p["probability"] for p in answer] == pytest.approx([p["probability"] for p in answers[0]], abs=0.02)


def test_one_array_without_a_batch_axis_is_one_picture(client: httpx.Client, cifar10: Cifar10) -> None:
    assert len(post_npy(client, cifar10[0][0]).json()["predictions"]) == 1


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_bytes_decide_the_format_not_the_declared_type(client: httpx.Client, cifar10: Cifar10, format: str) -> None:
    ship = next(image for image, label in zip(*cifar10, strict=True) if label == 8)
    response = post(client, encoded(format, np.repeat(np.repeat(ship, 4, 0), 4, 1)), "image/x-whatever")
    assert response.json()["predictions"][0]["label"] == "ship"


def test_model_and_top_k_are_query_parameters(client: httpx.Client, frog: bytes) -> None:
    body = post(client, frog, "image/png", model="tutorial", top_k=1).json()
    assert body["model"] == "tutorial"
    assert len(body["predictions"][0]["top"]) == 1


def test_text_fields_of_a_form_are_options_unless_the_query_has_them(client: httpx.Client, frog: bytes) -> None:
    def ask(query: str = "", **fields: str | list[str]) -> httpx.Response:
        return client.post(f"/predict{query}", files={"image": frog}, data=fields)

    found = ask(model="tutorial", top_k="5", comment="my frog").json()
    assert found["model"] == "tutorial"
    assert [len(prediction["top"]) for prediction in found["predictions"]] == [5]
    assert len(ask("?top_k=2", top_k="5").json()["predictions"][0]["top"]) == 2
    assert_problem(ask(top_k="many"), 422, "invalid-input", "top_k")
    assert_problem(ask(top_k=["1", "2"]), 422, "invalid-input", "top_k")
    assert_problem(ask("?model=fast&model=tutorial"), 422, "invalid-input", "model")
    assert_problem(ask(model="nope"), 404, "not-found", "model")


def large(cifar10: Cifar10, label: int = 8, size: tuple[int, int] = (200, 160)) -> NDArray[np.uint8]:
    """A picture of `size` (width, height) that shows a CIFAR-10 picture of `label` and changes from place to place."""
    picture = next(image for image, found in zip(*cifar10, strict=True) if found == label)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def test_several_views_are_averaged_and_the_typical_ones_say_most_about_the_label(
    client: httpx.Client, cifar10: Cifar10
) -> None:
    picture = large(cifar10)
    views = imaging.views_of(picture, INPUT, 14)
    alone = post_npy(client, views, top_k=10).json()["predictions"]
    (found,) = post_npy(client, picture, top_k=10, views=14).json()["predictions"]
    assert found["views"] == len(views) == 14
    weights = np.array([1 - view["ood_score"] for view in alone])
    shares = np.array([[one["probability"] for one in sorted(v["top"], key=lambda one: one["index"])] for v in alone])
    expected = weights @ shares / weights.sum()
    assert [one["index"] for one in found["top"]] == np.argsort(-expected).tolist()
    # The last bits of a sum depend on the batch that a view was in.
    assert [one["probability"] for one in found["top"]] == pytest.approx(sorted(expected, reverse=True), abs=0.02)
    assert found["ood_score"] == pytest.approx(np.mean([view["ood_score"] for view in alone]), abs=0.02)
    assert found["label"] == "ship"


def test_a_picture_is_counted_once_however_many_views_it_has(client: httpx.Client, cifar10: Cifar10) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        ours = [line.rpartition(" ") for line in lines if 'model="tutorial"' in line and "bucket" not in line]
        return {name: float(number) for name, _, number in ours}

    picture = large(cifar10)
    post_npy(client, picture, model="tutorial").raise_for_status()  # so that the network is loaded
    before = counted()
    (found,) = post_npy(client, picture, model="tutorial", views=14).json()["predictions"]
    post_npy(client, cifar10[0][:2], model="tutorial").raise_for_status()
    after = counted()
    grown = {name.partition("{")[0]: 0.0 for name in after}
    for name, number in after.items():
        grown[name.partition("{")[0]] += number - before.get(name, 0)
    assert found["views"] == 14
    assert grown["convoscope_predictions_total"] == grown["convoscope_prediction_confidence_count"] == 3
    assert grown["convoscope_prediction_ood_score_count"] in (0, 3)
    assert grown["convoscope_batch_pictures_sum"] == 16


def test_what_explain_looks_at_is_not_counted_as_predictions(client: httpx.Client, frog: bytes) -> None:
    def counted() -> list[str]:
        lines = client.get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith("convoscope_predictions_total") and 'model="fast"' in line]

    post(client, frog, "image/png", model="fast").raise_for_status()
    before = counted()
    client.post("/explain?model=fast&method=occlusion", content=frog).raise_for_status()
    assert before == counted() != []


def test_one_view_is_the_default_and_answers_without_a_word_of_views(client: httpx.Client, frog: bytes) -> None:
    default, one = (post(client, frog, "image/png", **params) for params in ({}, {"views": 1}))
    assert default.content == one.content
    assert b"views" not in default.content


def test_the_answer_tells_how_many_views_there_were(client: httpx.Client, frog: bytes, cifar10: Cifar10) -> None:
    small, square, wide = frog, encoded("PNG", large(cifar10, size=(90, 90))), encoded("JPEG", large(cifar10))
    parts = [("image", content) for content in (small, wide, square, wide)]
    found = client.post("/predict", files=parts, params={"views": 14}).json()["predictions"]
    assert [prediction["views"] for prediction in found] == [2, 14, 12, 14]
    assert [prediction["label"] for prediction in found] == ["frog", "ship", "ship", "ship"]
    assert [p["views"] for p in client.post("/predict?views=3", files=parts).json()["predictions"]] == [2, 3, 3, 3]


def test_views_may_be_a_field_of_a_form_too(client: httpx.Client, cifar10: Cifar10) -> None:
    files = {"image": encoded("PNG", large(cifar10))}
    query = client.post("/predict?views=14", files=files).json()["predictions"]
    field = client.post("/predict", files=files, data={"views": "14"}).json()["predictions"]
    assert [p["views"] for p in field] == [14]
    assert field[0]["probability"] == pytest.approx(query[0]["probability"], abs=0.02)
    assert "views" not in client.post("/predict?views=1", files=files, data={"views": "14"}).text


def test_every_view_counts_towards_the_limit_of_pictures(client: httpx.Client, cifar10: Cifar10) -> None:
    pictures = np.repeat(cifar10[0][:1], 19, axis=0)
    assert len(post_npy(client, pictures[:18], views=14).json()["predictions"]) == 18
    for answer in (post_npy(client, pictures, views=14), client.post("/predict?views=14", files=[("image", b"")] * 19)):
        problem = assert_problem(answer, 413, "too-large", "body")
        assert problem["detail"] == "19 pictures in one request; expected at most 18 with 14 views each"
    for views in ("0", "15", "many", "2.5"):
        assert_problem(post_npy(client, pictures, views=views), 422, "invalid-input", "views")


def test_server_timing_and_request_id_come_with_every_answer(client: httpx.Client, frog: bytes) -> None:
    response = client.post("/predict", content=frog, headers={"Content-Type": "image/png", "X-Request-ID": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    steps = re.findall(r"(\w+);dur=\d+\.\d{3}", response.headers["server-timing"])
    assert steps == ["decode", "queue", "infer", "encode", "total"]
    assert re.fullmatch(r"total;dur=\d+\.\d{3}", client.get("/nope").headers["server-timing"])


def test_the_short_way_and_the_routes_answer_the_same(client: httpx.Client, frog: bytes) -> None:
    ways: tuple[bytes | Iterator[bytes], ...] = (frog, iter([frog]))  # the other in chunks
    short, routed = (post(client, content, "image/png", top_k=5, model="fast") for content in ways)
    assert short.json() == routed.json()
    assert short.headers.keys() == routed.headers.keys()
    counted = r'http_requests_total\{method="POST",route="/predict",status="200"\} (\S+)'
    before = re.search(counted, client.get("/metrics").text)
    for content in (frog, iter([frog])):
        post(client, content, "image/png")
    after = re.search(counted, client.get("/metrics").text)
    assert before
    assert after
    assert float(after[1]) == float(before[1]) + 2


def test_a_request_id_that_is_not_sane_is_replaced(client: httpx.Client, frog: bytes) -> None:
    sent = "x" * 65
    response = client.post("/predict", content=frog, headers={"Content-Type": "image/png", "X-Request-ID": sent})
    assert re.fullmatch("[0-9a-f]{16}", response.headers["x-request-id"])


def test_concurrent_posts_share_batches_and_get_their_own_answers(make_client: ClientFactory, cifar10: Cifar10) -> None:
    client = make_client(models=PICTURES.parent.parent / "models")
    images, _ = cifar10
    alone = [p["index"] for p in post_npy(client, images).json()["predictions"]]
    before = _metrics(client)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda image: post_npy(client, image).json(), np.repeat(images, 4, axis=0)))
    together = [answer["predictions"][0]["index"] for answer in answers]
    # The last bits of a sum depend on the batch's size, so a picture on the edge between two labels may tip.
    assert sum(a != b for a, b in zip(together, np.repeat(alone, 4), strict=True)) <= 4
    after = _metrics(client)
    batches = after["convoscope_batch_pictures_count"] - before["convoscope_batch_pictures_count"]
    assert after["convoscope_batch_pictures_sum"] - before["convoscope_batch_pictures_sum"] == 800
    assert batches < 800


def _metrics(client: httpx.Client) -> dict[str, float]:
    lines = re.findall(r'^(convoscope_batch_\w+)\{model="accurate"\} (\S+)$', client.get("/metrics").text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 black pixels in 200 kB; a hundred rows are compressed, and used 400 times."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    deflate = zlib.compressobj(9, wbits=-15)
    hundred = deflate.compress(bytes(5_001 * 100)) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">HH", 5_001 * 40_000 % 65_521, 1)  # Adler-32 of as many zeros
    rows = b"\x78\xda" + 400 * hundred + deflate.flush() + checksum
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "kind", "status", "type", "field"),
    [
        (b"", "image/png", 400, "malformed-request", "body"),
        (b"", "", 400, "malformed-request", "body"),
        (b"hello", "image/png", 415, "unsupported-picture", "body"),
        (b"hello", "text/plain", 415, "unsupported-picture", "Content-Type"),
        (b"hello", "", 415, "unsupported-picture", "Content-Type"),
        (b"%PDF-1.7", "image/jpeg", 415, "unsupported-picture", "body"),
        (b"{", "application/json", 400, "malformed-request", "body"),
        (b'{"images": [NaN]}', "application/json", 400, "malformed-request", "body"),
        (b"\xff", "application/json", 400, "malformed-request", "body"),
        (b"[]", "application/json", 422, "invalid-input", "body"),
        (b"{}", "application/json", 422, "invalid-input", "/images"),
        (b'{"images": []}', "application/json", 422, "invalid-input", "/images"),
        (b'{"images": "x"}', "application/json", 422, "invalid-input", "/images"),
        (b'{"images": [1]}', "application/json", 422, "invalid-input", "/images/0"),
        (b'{"images": ["!!"]}', "application/json", 422, "invalid-input", "/images/0"),
        ('{"images": ["é"]}'.encode(), "application/json", 422, "invalid-input", "/images/0"),
        (b'{"images": [null]}', "application/json", 422, "invalid-input", "/images/0"),
        (b'{"a~b": 1}', "application/json", 422, "invalid-input", "/a~0b"),
        (b'{"images": ["' + b"[" * 1000, "application/json", 400, "malformed-request", "body"),
        (b"[" * 1000, "application/json", 400, "malformed-request", "body"),
        (b'{"images": [""]}', "application/json", 415, "unsupported-picture", "/images/0"),
        (b'{"images": ["aGVsbG8="], "x": 1}', "application/json", 422, "invalid-input", "/x"),
        (b'{"images": ["aGVsbG8="]}', "application/json", 415, "unsupported-picture", "/images/0"),
        (orjson.dumps({"images": ["aGVsbG8="] * 300}), "application/json", 413, "too-large", "/images"),
        (orjson.dumps({"images": [1] * 1_000_001}), "application/json", 413, "too-large", "body"),
        (b"hello", "multipart/form-data", 400, "malformed-request", "body"),
        (b"hello", "multipart/form-data; boundary=x", 400, "malformed-request", "body"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400, "malformed-request", "body"),
        (b"hello", "application/x-npy", 400, "malformed-request", "body"),
        (npy_with("(True, True, 3)", b"abc"), "application/x-npy", 400, "malformed-request", "body"),
        (npy(np.zeros((1, 32, 32, 3), np.uint8))[:-1], "application/x-npy", 400, "malformed-request", "body"),
        (npy(np.zeros((1, 32, 32, 3), np.uint8)) + b"0", "application/x-npy", 400, "malformed-request", "body"),
        (npy(np.zeros((32, 32, 3))), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.zeros((32, 32), np.uint8)), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.zeros((0, 32, 32, 3), np.uint8)), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.zeros((32, 32, 3, 1), np.uint8)), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.array([None, "x"], dtype=object)), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.zeros((300, 2, 2, 3), np.uint8)), "application/x-npy", 413, "too-large", "body"),
        (bomb(), "image/png", 413, "too-large", "body"),
    ],
)
def test_a_bad_body_is_refused_by_name(
    client: httpx.Client, content: bytes, kind: str, status: int, type: str, field: str
) -> None:
    assert_problem(post(client, content, kind), status, type, field)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 32, 32, 3), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1000000000, 1000000000, 3), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 32, 32, 3), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': 'x', }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (32, 32, 3), }",
        b"__import__('os').abort()",
        b"(" * 500,
    ],
)
def test_a_lying_npy_header_is_refused(client: httpx.Client, header: bytes) -> None:
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(3072)
    response = post(client, content, "application/x-npy")
    assert response.status_code in (400, 413, 422)
    found = assert_problem(response, response.status_code, response.json()["type"].removeprefix("/problems/"), "body")
    assert " at 0x" not in found["detail"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_picture_cut_short_is_refused_or_read_but_never_a_server_error(
    client: httpx.Client, cifar10: Cifar10, format: str, keep: float
) -> None:
    content = encoded(format, np.repeat(np.repeat(cifar10[0][0], 4, 0), 4, 1))
    response = post(client, content[: int(keep * len(content))], "image/png")
    assert response.status_code in (200, 415, 422)


@pytest.mark.parametrize("shape", [(1, 1, 3), (20_000, 1, 3), (1, 20_000, 3)])
def test_odd_sizes_are_answered(client: httpx.Client, shape: tuple[int, int, int]) -> None:
    picture = np.full(shape, 127, np.uint8)
    assert len(post(client, encoded("PNG", picture), "image/png").json()["predictions"]) == 1
    assert len(post_npy(client, picture).json()["predictions"]) == 1


def test_every_bad_picture_of_a_request_is_named(client: httpx.Client, frog: bytes) -> None:
    body = assert_problem(
        post_json(client, b"hello", frog, frog[:100]), 415, "unsupported-picture", "/images/0", "/images/2"
    )
    assert body["detail"] == "2 of 3 pictures cannot be used"
    files = [("good", ("a.png", frog)), ("bad", ("b.png", b"hello"))]
    assert_problem(client.post("/predict", files=files), 415, "unsupported-picture", "bad")


def test_a_good_picture_beside_a_bad_one_is_not_named(client: httpx.Client, frog: bytes) -> None:
    larger = encoded("PNG", np.full((100, 100, 3), 127, np.uint8))
    body = assert_problem(post_json(client, frog[:100], larger), 422, "invalid-input", "/images/0")
    assert "the PNG ends early" in body["detail"]


def test_too_large_goes_before_what_else_is_wrong(make_client: ClientFactory, frog: bytes) -> None:
    client = make_client(max_pixels=1023)
    assert_problem(post_json(client, frog[:100], frog), 413, "too-large", "/images/0", "/images/1")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("0", "0"),
        ("11", "11"),
        ("-1", "-1"),
        ("x", "'x'"),
        ("", "''"),
        ("2.5", "'2.5'"),
        ("9" * 30, "'999999999999...9999999999999'"),
    ],
)
def test_a_bad_top_k_is_refused(client: httpx.Client, frog: bytes, value: str, found: str) -> None:
    body = assert_problem(post(client, frog, "image/png", top_k=value), 422, "invalid-input", "top_k")
    assert body["detail"] == f"top_k is {found}; expected an integer from 1 to 10"


def test_an_unknown_model_is_refused_with_a_list(client: httpx.Client, frog: bytes) -> None:
    assert_problem(post(client, frog, "image/png", model=""), 404, "not-found", "model")
    body = assert_problem(post(client, frog, "image/png", model="nope"), 404, "not-found", "model")
    assert body["detail"] == "no model is called 'nope'; expected one of accurate, fast, tutorial"


@pytest.mark.parametrize("declare_length", [True, False])
def test_too_large_a_body_is_refused(client: httpx.Client, declare_length: bool) -> None:
    headers = {"Content-Type": "image/png"} | ({"Content-Length": str(100_000_000)} if declare_length else {})
    chunks = (bytes(1_000_000) for _ in range(100))
    body = assert_problem(client.post("/predict", content=chunks, headers=headers), 413, "too-large", "body")
    assert "64000000" in body["detail"]


def test_bad_requests_disturb_no_neighbour(client: httpx.Client, cifar10: Cifar10) -> None:
    images, _ = cifar10
    good = npy(images[:1])
    expected = post(client, good, "application/x-npy").json()["predictions"][0]["label"]
    bodies: list[Callable[[], httpx.Response]] = [
        lambda: post(client, good, "application/x-npy"),
        lambda: post(client, b"hello", "image/png"),
        lambda: post(client, b"{", "application/json"),
    ]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: bodies[i % 3](), range(150)))
    assert [a.status_code for a in answers[1::3]] == [415] * 50
    assert [a.status_code for a in answers[2::3]] == [400] * 50
    assert [a.json()["predictions"][0]["label"] for a in answers[0::3]] == [expected] * 50


def test_a_full_queue_answers_503_with_retry_after(make_client: ClientFactory, cifar10: Cifar10) -> None:
    client = make_client(max_queue=8, max_pictures=8, max_batch=1)
    content = npy(np.repeat(cifar10[0][:1], 8, axis=0))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(client, content, "application/x-npy"), range(64)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) < 64
    assert refused
    for answer in refused:
        assert_problem(answer, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"


def test_compiling_a_network_counts_towards_the_deadline_and_goes_on(
    make_client: ClientFactory, cifar10: Cifar10, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, compilations, late = Network._compiled, [], threading.Event()

    def slow(network: Network) -> Engine:
        compilations.append(network.metadata.name)
        late.wait(60)
        return compiled(network)

    client = make_client(deadline=0.3)
    monkeypatch.setattr(Network, "_compiled", slow)
    assert_problem(post_npy(client, cifar10[0][0], model="tutorial"), 504, "deadline-exceeded")
    late.set()
    until(lambda: post_npy(client, cifar10[0][0], model="tutorial").status_code == 200)
    assert compilations == ["tutorial"]


def test_a_deadline_answers_504(make_client: ClientFactory, cifar10: Cifar10) -> None:
    client = make_client(deadline=1e-6)
    assert_problem(post_npy(client, cifar10[0][0]), 504, "deadline-exceeded")


def test_pictures_that_nobody_waits_for_any_more_are_not_decoded() -> None:
    content = b'{"images": ["aGVsbG8=", "aGVsbG8="]}'
    with pytest.raises(DeadlineExceeded):
        pictures.every("application/json", content, INPUT, Settings(), Deadline(-1).check)
    with pytest.raises(UnsupportedPicture, match="2 of 2 pictures cannot be used"):
        pictures.every("application/json", content, INPUT, Settings(), Deadline(60).check)


def test_several_pictures_where_one_is_expected_are_refused_before_any_is_decoded() -> None:
    content = b'{"images": ["aGVsbG8=", "aGVsbG8="]}'
    with pytest.raises(InvalidInput, match="the request has 2 pictures; expected one"):
        pictures.one("application/json", content, INPUT, Settings())


def test_health_answers_while_pictures_are_decoded(client: httpx.Client) -> None:
    large = encoded("PNG", np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8))
    assert_health_answers(client, lambda: post(client, large, "image/png"), 0.5)
