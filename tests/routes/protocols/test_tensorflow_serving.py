import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.routes.protocols.helpers import assert_error

Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8]]
PREDICT = "/v1/models/fast:predict"


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def post(client: httpx.Client, document: object, path: str = PREDICT) -> httpx.Response:
    """Post JSON without a content type, as curl's users do for TensorFlow Serving."""
    return client.post(path, content=json.dumps(document))


def test_instances_are_answered_by_predictions_and_inputs_by_outputs(client: httpx.Client, frog: bytes) -> None:
    predictions = post(client, {"instances": [b64(frog)]}).json()
    assert predictions.keys() == {"predictions"}
    (row,) = predictions["predictions"]
    assert np.argmax(row) == 6
    assert sum(row) == pytest.approx(1)
    outputs = post(client, {"signature_name": "serving_default", "inputs": [b64(frog)]}).json()
    assert outputs.keys() == {"outputs"}
    assert outputs["outputs"][0] == pytest.approx(row)


def test_every_form_of_the_same_pictures_gets_the_same_answer(client: httpx.Client, frog: bytes) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(frog))).tolist()
    forms: list[dict[str, Any]] = [
        {"instances": [pixels]},
        {"instances": [{"image": pixels}]},
        {"instances": [b64(frog)]},
        {"instances": [{"image_bytes": b64(frog)}]},
        {"instances": [b64(frog)["b64"]]},
        {"inputs": [pixels]},
        {"inputs": pixels},
        {"inputs": b64(frog)},
        {"inputs": {"image": [pixels]}},
        {"inputs": {"image": [b64(frog)]}},
        {"inputs": {"image": b64(frog)}},
    ]
    for form in forms:
        ((row,),) = post(client, form).json().values()
        assert np.argmax(row) == 6, form


def test_classify_ranks_every_label(client: httpx.Client, frog: bytes) -> None:
    body = {"examples": [{"image": b64(frog)}, {"image": b64(frog)}]}
    first, second = post(client, body, "/v1/models/fast:classify").json()["results"]
    assert first == second
    assert first[0][0] == "frog"
    shares = [share for _, share in first]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 10


@pytest.mark.parametrize("part", ["", "/versions/{version}", "/labels/stable"])
def test_every_documented_request_is_answered_by_name_version_and_label(
    client: httpx.Client, frog: bytes, part: str
) -> None:
    """The requests of https://www.tensorflow.org/tfx/serving/api_rest, with a picture as the one feature."""
    version = client.get("/models/fast").json()["version"]
    path, picture = f"/v1/models/fast{part.format(version=version)}", b64(frog)
    status, metadata = client.get(path).json(), client.get(f"{path}/metadata").json()
    assert [found["state"] for found in status["model_version_status"]] == ["AVAILABLE"]
    assert metadata["model_spec"]["version"] == version
    rows = {"signature_name": "serving_default", "instances": [{"image": picture}, {"image": picture}]}
    columns = {"signature_name": "serving_default", "inputs": {"image": [picture, picture]}}
    predictions = post(client, rows, f"{path}:predict").json()["predictions"]
    outputs = post(client, columns, f"{path}:predict").json()["outputs"]
    assert np.array(outputs) == pytest.approx(np.array(predictions), abs=1e-5)
    assert np.argmax(predictions, axis=1).tolist() == [6, 6]
    examples = {"signature_name": "serving_default", "context": {}, "examples": [{"image": picture}]}
    (ranked,) = post(client, examples, f"{path}:classify").json()["results"]
    assert ranked[0] == ["frog", pytest.approx(max(predictions[0]), abs=1e-5)]


def test_other_versions_labels_and_features_are_rejected(client: httpx.Client, frog: bytes) -> None:
    for part in ("/versions/99", "/labels/canary"):
        assert_error(post(client, {}, f"/v1/models/fast{part}:predict"), 404, "expected")
        assert_error(client.get(f"/v1/models/fast{part}"), 404, "expected")
    assert_error(post(client, {}, "/v1/models/nope:predict"), 404, "accurate, fast, tutorial")
    captioned = {"examples": [{"image": b64(frog), "caption": "seaside"}]}
    assert_error(post(client, captioned, "/v1/models/fast:classify"), 422, "expected one input")


def test_the_status_is_what_tensorflow_serving_and_kserve_read(client: httpx.Client) -> None:
    found = client.get("/v1/models/fast").json()
    version = client.get("/models/fast").json()["version"]
    assert found["ready"] is True
    assert found["model_version_status"] == [
        {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert client.get("/v1/models").json() == {"models": ["accurate", "fast", "tutorial"]}


def test_the_metadata_names_inputs_and_outputs(client: httpx.Client) -> None:
    found = client.get("/v1/models/fast/metadata").json()
    version = client.get("/models/fast").json()["version"]
    assert found["model_spec"] == {"name": "fast", "signature_name": "", "version": version}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    sizes = [size["size"] for size in signature["inputs"]["image"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "32", "32", "3"]
    assert signature["outputs"]["probabilities"]["tensor_shape"]["dim"][1]["size"] == "10"


@pytest.mark.parametrize(
    ("document", "status", "part"),
    [
        ([], 422, "object"),
        ({}, 422, "exactly one of instances and inputs"),
        ({"instances": [], "inputs": []}, 422, "exactly one"),
        ({"instances": []}, 422, "/instances"),
        ({"instances": 7}, 422, "/instances is 7"),
        ({"instances": [7]}, 422, "/instances/0 is 7"),
        ({"instances": [{"a": 1, "b": 2}]}, 422, "one input"),
        ({"instances": [{"b64": 1}]}, 422, "/instances/0/b64"),
        ({"instances": [{"b64": "!"}]}, 422, "Base64"),
        ({"instances": [{"b64": "aGVsbG8="}]}, 415, "expected JPEG"),
        ({"instances": [[[[0, 0, 0]]]], "signature_name": "x"}, 422, "serving_default"),
        ({"instances": [[[[0, 0]]]]}, 422, "channels last"),
        ({"instances": [[0, 0, 0]]}, 422, "one picture per instance"),
        ({"instances": [[[[0, 0, 0], [0]]]]}, 422, "ragged"),
        ({"instances": [[[[0, 0, 256]]]]}, 422, "0 to 255"),
        ({"instances": [[[[0, 0, 0.5]]]]}, 422, "multiply them by 255"),
        ({"instances": [[[["a", 0, 0]]]]}, 422, "numbers"),
        ({"instances": [[[[0, 0, 0]]]] * 300}, 413, "256"),
        ({"instances": [{"b64": "aGVsbG8="}] * 300}, 413, "256"),
        ({"inputs": [[[[0, 0, 0]]]] * 300}, 413, "256"),
        ({"inputs": None}, 422, "/inputs is null"),
        ({"inputs": [[]]}, 422, "channels last"),
    ],
)
def test_a_bad_request_is_rejected_in_a_form_that_clients_read(
    client: httpx.Client, document: object, status: int, part: str
) -> None:
    assert_error(post(client, document), status, part)


def test_what_is_not_json_or_not_a_method_is_rejected(client: httpx.Client) -> None:
    assert_error(client.post(PREDICT, content=b"{"), 400, "JSON")
    assert_error(client.post(PREDICT, content=b""), 400, "JSON")
    assert_error(client.post("/v1/models/fast:regress", content=b"{}"), 422, "fast has no regression")
    assert_error(client.post("/v1/models/fast:classify", content=b"{}"), 422, "/examples is null")
    assert_error(client.post("/v1/models/fast", content=b"{}"), 405, "GET")
    assert_error(client.get("/v1/nope"), 404)
