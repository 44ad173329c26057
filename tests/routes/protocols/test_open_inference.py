import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.wire.tensors import HEADER
from tests.conftest import ClientFactory
from tests.routes.protocols.helpers import assert_error

Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8]]
INFER = "/v2/models/fast/infer"

TRITON = (
    b'{"inputs":[{"name":"image","shape":[1,2,2,3],"datatype":"UINT8","parameters":{"binary_data_size":12}}],'
    b'"parameters":{"binary_data_output":true}}'
)
"""The head that tritonclient 2.73 sends for an array of 2x2 pixels, all in one line."""


def tensor(data: Any, shape: list[int], datatype: str = "UINT8", **fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "shape": shape, "datatype": datatype, "data": data}], **fields}


def post(
    client: httpx.Client, head: bytes | dict[str, Any], behind: bytes = b"", length: str | None = None, **headers: str
) -> httpx.Response:
    """Post a head and, if there are any, the bytes behind it, without a content type, as tritonclient does."""
    if isinstance(head, dict):
        head = json.dumps(head).encode()
    if behind or length is not None:
        headers[HEADER] = str(len(head)) if length is None else length
    return client.post(INFER, content=head + behind, headers=headers)


def files(*contents: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(content)) + content for content in contents)


def bytes_head(count: int, size: int, **fields: Any) -> dict[str, Any]:
    one = {"name": "image", "shape": [count], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
    return {"inputs": [one], **fields}


def outputs(response: httpx.Response) -> dict[str, Any]:
    """The outputs of an answer in JSON, by name, each in its shape."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return {out["name"]: np.reshape(out["data"], out["shape"]) for out in response.json()["outputs"]}


def test_what_tritonclient_sends_is_answered_in_binary(client: httpx.Client) -> None:
    response = post(client, TRITON, bytes(12))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[HEADER])
    head = json.loads(response.content[:length])
    assert (head["model_name"], head["model_version"]) == ("fast", client.get("/models/fast").json()["version"])
    sizes = {out["name"]: out["parameters"]["binary_data_size"] for out in head["outputs"]}
    assert sum(sizes.values()) == len(response.content) - length
    probabilities = np.frombuffer(response.content[length : length + sizes["probabilities"]], "<f4")
    assert probabilities.shape == (10,)
    assert probabilities.sum() == pytest.approx(1)


def test_what_kserve_sends_is_answered_in_json(client: httpx.Client, cifar10: Cifar10) -> None:
    pixels = cifar10[0][:2].astype(np.float32)
    sent = tensor(pixels.ravel().tolist(), [2, 32, 32, 3], "FP32", id="a-1", model_name="fast")
    response = client.post(INFER, json=sent)
    assert response.json()["id"] == "a-1"
    found = outputs(response)
    predicted = client.post(
        "/predict?model=fast", json={"images": [base64.b64encode(png(p)).decode() for p in cifar10[0][:2]]}
    ).json()["predictions"]
    assert found["labels"][:, 0].tolist() == [p["label"] for p in predicted]
    assert found["scores"][:, 0] == pytest.approx([p["probability"] for p in predicted], abs=0.02)
    assert found["ood_score"] == pytest.approx([p["ood_score"] for p in predicted], abs=0.02)
    assert np.argsort(-found["logits"])[:, 0].tolist() == [p["index"] for p in predicted]


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_form_of_the_same_picture_gets_the_same_answer(client: httpx.Client, cifar10: Cifar10) -> None:
    pixels = cifar10[0][0]
    file = png(pixels)
    base64_text = base64.b64encode(file).decode()
    raw = {"name": "x", "shape": [1, 32, 32, 3], "parameters": {"binary_data_size": 3072}}
    forms: list[tuple[dict[str, Any], bytes]] = [
        (tensor(pixels.tolist(), [32, 32, 3]), b""),
        (tensor(pixels[None].tolist(), [1, 32, 32, 3], "FP32"), b""),
        (tensor([base64_text], [1], "BYTES"), b""),
        (tensor([[base64_text]], [1, 1], "BYTES", parameters={"content_type": "base64"}), b""),
        (bytes_head(1, len(file) + 4), files(file)),
        ({"inputs": [raw | {"datatype": "UINT8"}]}, pixels.tobytes()),
        (
            {"inputs": [raw | {"datatype": "FP32", "parameters": {"binary_data_size": 4 * 3072}}]},
            pixels.astype("<f4").tobytes(),
        ),
    ]
    found = [outputs(post(client, head, behind)) for head, behind in forms]
    for other in found[1:]:
        assert other["labels"].tolist() == found[0]["labels"].tolist()
        assert other["scores"] == pytest.approx(found[0]["scores"], abs=1e-5)


def test_pictures_of_any_size_and_several_files_are_read(client: httpx.Client, cifar10: Cifar10) -> None:
    large = np.repeat(np.repeat(cifar10[0][:3], 4, axis=1), 4, axis=2)
    small = outputs(post(client, tensor(cifar10[0][:3].tolist(), [3, 32, 32, 3])))
    found = outputs(post(client, tensor(large.ravel().tolist(), list(large.shape))))
    assert found["labels"][:, 0].tolist() == small["labels"][:, 0].tolist()
    contents = files(*map(png, large))
    assert outputs(post(client, bytes_head(3, len(contents)), contents))["labels"].shape == (3, 3)


def test_outputs_top_k_and_classification_are_what_was_asked(client: httpx.Client) -> None:
    asked = [
        {"name": "labels"},
        {"name": "probabilities", "parameters": {"classification": 2, "binary_data": False}},
        {"name": "scores", "parameters": {"binary_data": True}},
    ]
    response = post(client, tensor([0] * 12, [1, 2, 2, 3], parameters={"top_k": 4}, outputs=asked))
    length = int(response.headers[HEADER])
    labels, classes, _ = json.loads(response.content[:length])["outputs"]
    assert (labels["shape"], labels["datatype"], len(labels["data"])) == ([1, 4], "BYTES", 4)
    assert (classes["shape"], classes["datatype"]) == ([1, 2], "BYTES")
    value, index, label = classes["data"][0].split(":")
    assert label == labels["data"][0]
    binary = np.frombuffer(response.content[length:], "<f4")
    assert binary.shape == (4,)
    assert float(value) == pytest.approx(binary[0], abs=1e-5)
    assert 0 <= int(index) < 10


def test_bytes_in_binary_answers_are_behind_their_lengths(client: httpx.Client) -> None:
    asked = [{"name": "labels", "parameters": {"binary_data": True}}]
    response = post(client, tensor([0] * 12, [1, 2, 2, 3], parameters={"top_k": 10}, outputs=asked))
    rest, found = response.content[int(response.headers[HEADER]) :], []
    while rest:
        end = 4 + struct.unpack_from("<I", rest)[0]
        found.append(rest[4:end].decode())
        rest = rest[end:]
    assert sorted(found) == client.get("/models/fast").json()["labels"]


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda data: zlib.compress(data, wbits=-15))],
)
def test_compressed_bodies_are_read(client: httpx.Client, coding: str, compress: Callable[[bytes], bytes]) -> None:
    headers = {"Content-Encoding": coding, HEADER: str(len(TRITON))}
    response = client.post(INFER, content=compress(TRITON + bytes(12)), headers=headers)
    assert response.status_code == 200


def test_metadata_says_what_the_network_takes_and_answers(client: httpx.Client) -> None:
    assert client.get("/v2").json() == client.get("/v2/").json()
    assert client.get("/v2").json()["name"] == "convoscope"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models").json() == {"models": ["accurate", "fast", "tutorial"]}
    found, version = client.get("/v2/models/fast").json(), client.get("/models/fast").json()["version"]
    assert found == client.get(f"/v2/models/fast/versions/{version}").json()
    assert found["versions"] == [version]
    assert found["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    answered = post(client, tensor([0] * 12, [1, 2, 2, 3])).json()["outputs"]
    for said, given in zip(found["outputs"], answered, strict=True):
        assert (said["name"], said["datatype"]) == (given["name"], given["datatype"])
        assert all(a in (-1, b) for a, b in zip(said["shape"], given["shape"], strict=True))
    assert client.get("/v2/models/fast/ready").json()["ready"] is True
    assert client.get(f"/v2/models/fast/versions/{version}/ready").status_code == 200
    config = client.get("/v2/models/fast/config").json()
    assert config["input"][0]["dims"] == [32, 32, 3]
    assert config["parameters"]["labels"]["string_value"].split(",") == client.get("/models/fast").json()["labels"]


def test_the_repository_and_statistics_are_true(client: httpx.Client) -> None:
    index = client.post("/v2/repository/index").json()
    assert [(model["name"], model["state"]) for model in index] == [
        ("accurate", "READY"),
        ("fast", "READY"),
        ("tutorial", "READY"),
    ]
    before = client.get("/v2/models/fast/stats").json()["model_stats"][0]
    assert post(client, tensor([0] * 36, [3, 2, 2, 3])).status_code == 200
    (after,) = client.get("/v2/models/fast/stats").json()["model_stats"]
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] > before["execution_count"]
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert len(client.get("/v2/models/stats").json()["model_stats"]) == 3


def test_loading_compiles_and_unloading_is_rejected(client: httpx.Client) -> None:
    assert client.post("/v2/repository/models/tutorial/load").status_code == 200
    assert_error(client.post("/v2/repository/models/nope/load"), 404, "'nope'", "accurate, fast, tutorial")
    assert_error(client.post("/v2/repository/models/fast/unload"), 422, "fast stays loaded")


@pytest.mark.parametrize(
    "path", ["/v2/models/nope", "/v2/models/nope/ready", "/v2/models/fast/versions/99", "/v2/nope", "/v2/models/x/y"]
)
def test_what_is_not_served_is_a_readable_404(client: httpx.Client, path: str) -> None:
    assert_error(client.get(path), 404)


def test_the_wrong_method_is_a_readable_405(client: httpx.Client) -> None:
    response = client.get(INFER)
    assert_error(response, 405, "POST")
    assert response.headers["allow"] == "POST"


def test_an_unknown_model_or_version_is_rejected(client: httpx.Client) -> None:
    for path in ("/v2/models/nope/infer", "/v2/models/fast/versions/99/infer"):
        assert_error(client.post(path, content=TRITON), 404, "expected")


UINT8 = {"name": "image", "shape": [1, 2, 2, 3], "datatype": "UINT8"}
BOTH = UINT8 | {"data": [0] * 12, "parameters": {"binary_data_size": 12}}


@pytest.mark.parametrize(
    ("head", "behind", "length", "status", "part"),
    [
        (b"", b"", None, 400, "JSON"),
        (b"{", b"", None, 400, "JSON"),
        (b"[]", b"", None, 422, "object"),
        ({}, b"", None, 422, "inputs is null"),
        ({"inputs": []}, b"", None, 422, "one tensor"),
        ({"inputs": [UINT8 | {"data": [0] * 12}] * 2}, b"", None, 422, "one tensor"),
        ({"inputs": [1]}, b"", None, 422, "one tensor"),
        (tensor([0] * 11, [1, 2, 2, 3]), b"", None, 422, "12 values"),
        (tensor([[0] * 6, [0] * 6], [1, 2, 2, 3]), b"", None, 422, "12 values"),
        (tensor([[0], [0, 0]], [1, 1, 1, 3]), b"", None, 422, "ragged"),
        (tensor([0] * 12, [1, 2, 2, 3], "FP64"), b"", None, 422, "'FP64'"),
        (tensor([0] * 12, [1, 2, 2, 3], ["x"]), b"", None, 422, "datatype"),  # type: ignore[arg-type]
        (tensor([0] * 12, [1, 3, 2, 2]), b"", None, 422, "channels last"),
        (tensor([0] * 12, [12]), b"", None, 422, "channels last"),
        (tensor([0] * 12, [1, 2, 2, -3]), b"", None, 422, "shape"),
        (tensor([0] * 12, [1, 2, 2, True]), b"", None, 422, "shape"),
        (tensor([0] * 12, [2**62, 2**62, 1, 3]), b"", None, 422, "needs"),
        (tensor([256] + [0] * 11, [1, 2, 2, 3]), b"", None, 422, "0 to 255"),
        (tensor([-1] + [0] * 11, [1, 2, 2, 3]), b"", None, 422, "0 to 255"),
        (tensor([0.5] + [0] * 11, [1, 2, 2, 3]), b"", None, 422, "integers"),
        (tensor([0.5] + [0] * 11, [1, 2, 2, 3], "FP32"), b"", None, 422, "multiply them by 255"),
        (tensor([None] * 12, [1, 2, 2, 3], "FP32"), b"", None, 422, "0 to 255"),
        (tensor(["x"] * 12, [1, 2, 2, 3]), b"", None, 422, "numbers"),
        (tensor([10**400] * 12, [1, 2, 2, 3]), b"", None, 400, "JSON"),
        (tensor({"b64": "x"}, [1], "BYTES"), b"", None, 422, "Base64"),
        (tensor(["!"], [1], "BYTES"), b"", None, 422, "Base64"),
        (tensor(["aGVsbG8="], [2], "BYTES"), b"", None, 422, "2 pictures"),
        (tensor(["aGVsbG8="], [1], "BYTES"), b"", None, 415, "expected JPEG"),
        (tensor([0] * 12 * 300, [300, 2, 2, 3]), b"", None, 413, "256"),
        (tensor(["aGVsbG8="] * 300, [300], "BYTES"), b"", None, 413, "256"),
        (tensor([0] * 12, [1, 2, 2, 3], id=7), b"", None, 422, "id is 7"),
        (tensor([0] * 12, [1, 2, 2, 3], parameters=[]), b"", None, 422, "parameters"),
        (tensor([0] * 12, [1, 2, 2, 3], parameters={"top_k": 11}), b"", None, 422, "1 to 10"),
        (tensor([0] * 12, [1, 2, 2, 3], parameters={"top_k": True}), b"", None, 422, "top_k"),
        (tensor([0] * 12, [1, 2, 2, 3], parameters={"binary_data_output": 1}), b"", None, 422, "true or false"),
        (tensor([0] * 12, [1, 2, 2, 3], outputs=[{"name": "nope"}]), b"", None, 422, "probabilities"),
        (tensor([0] * 12, [1, 2, 2, 3], outputs=[{"name": ["x"]}]), b"", None, 422, "probabilities"),
        (tensor([0] * 12, [1, 2, 2, 3], outputs=[{"name": "labels"}] * 99), b"", None, 422, "outputs"),
        (
            tensor([0] * 12, [1, 2, 2, 3], outputs=[{"name": "labels", "parameters": {"classification": 1}}]),
            b"",
            None,
            422,
            "classification",
        ),
        ({"inputs": [UINT8]}, b"", None, 422, "neither"),
        (
            {"inputs": [UINT8 | {"data": [0] * 12, "parameters": {"binary_data_size": 12}}]},
            bytes(12),
            None,
            422,
            "both",
        ),
        (TRITON, b"", None, 422, "12"),
        (TRITON, bytes(11), None, 422, "11 bytes follow"),
        (TRITON, bytes(13), None, 422, "13 bytes follow"),
        (tensor([0] * 12, [1, 2, 2, 3]), b"x", None, 422, "1 bytes follow"),
        (TRITON.replace(b":12}", b":-12}"), bytes(12), None, 422, "-12"),
        (TRITON.replace(b":12}", b':"12"}'), bytes(12), None, 422, "'12'"),
        (TRITON.replace(b"[1,2,2,3]", b"[1,2,3,3]"), bytes(12), None, 422, "18 bytes"),
        (TRITON, bytes(12), "x", 400, "expected at most"),
        (TRITON, bytes(12), "-1", 400, "expected at most"),
        (TRITON, bytes(12), "999999", 400, "999999"),
        (TRITON, bytes(12), "9" * 5000, 400, "expected at most"),
        (TRITON, bytes(12), "10", 400, "JSON"),
        (TRITON, bytes(12), "0", 400, "JSON"),
        (bytes_head(1, 8), struct.pack("<I", 2**32 - 1) + b"abcd", None, 422, "element 0"),
        (bytes_head(1, 3), b"abc", None, 422, "element 0"),
        (bytes_head(1, 10), files(b"a", b"b"), None, 422, "5 bytes follow"),
        (bytes_head(1, 9), files(b"hello"), None, 415, "expected JPEG"),
        (bytes_head(300, 1200), bytes(1200), None, 413, "256"),
    ],
)
def test_a_bad_request_is_rejected_in_a_form_that_clients_read(
    client: httpx.Client, head: bytes | dict[str, Any], behind: bytes, length: str | None, status: int, part: str
) -> None:
    assert_error(post(client, head, behind, length), status, part)


def test_a_compressed_bomb_is_rejected_while_it_is_inflated(client: httpx.Client) -> None:
    bomb = gzip.compress(bytes(200_000_000), 1)
    assert_error(client.post(INFER, content=bomb, headers={"Content-Encoding": "gzip"}), 413, "64000000")


@pytest.mark.parametrize(
    ("coding", "content", "status", "part"),
    [
        ("gzip", b"hello", 400, "not gzip"),
        ("gzip", gzip.compress(TRITON)[:-4], 400, "ends early"),
        ("gzip", b"", 400, "ends early"),
        ("deflate", zlib.compress(TRITON) + b"x", 400, "1 bytes follow"),
        ("br", b"hello", 415, "'br'"),
        ("gzip, gzip", b"hello", 415, "gzip or deflate"),
    ],
)
def test_what_is_not_compressed_as_said_is_rejected(
    client: httpx.Client, coding: str, content: bytes, status: int, part: str
) -> None:
    assert_error(client.post(INFER, content=content, headers={"Content-Encoding": coding}), status, part)


def test_a_deadline_is_told_in_the_protocols_form(make_client: ClientFactory) -> None:
    client = make_client(deadline=1e-6)
    assert_error(post(client, TRITON, bytes(12)), 504, "no answer within")
