import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.routes.protocols.helpers import assert_error

URL = "/invocations"


def labels(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return [found["label"] for found in response.json()["predictions"]]


def test_raw_pictures_and_arrays_are_answered(client: httpx.Client, frog: bytes) -> None:
    array = io.BytesIO()
    np.save(array, np.asarray(Image.open(io.BytesIO(frog))))
    for content, kind in [(frog, "image/png"), (frog, "application/x-image"), (array.getvalue(), "application/x-npy")]:
        assert labels(client.post(URL, content=content, headers={"Content-Type": kind})) == ["frog"]


def test_every_form_of_json_is_answered(client: httpx.Client, frog: bytes) -> None:
    text = base64.b64encode(frog).decode()
    pixels = np.asarray(Image.open(io.BytesIO(frog))).tolist()
    forms: list[dict[str, Any]] = [
        {"instances": [text, text]},
        {"instances": [pixels, pixels]},
        {"instances": [{"b64": text}, {"image": {"b64": text}}]},
        {"inputs": [text, text]},
        {"inputs": {"image": [text, text]}},
        {"inputs": [pixels, pixels]},
        {"dataframe_split": {"columns": ["image"], "index": [0, 1], "data": [[text], [text]]}},
        {"dataframe_records": [{"image": text}, {"image": text}]},
        {"images": [text, text]},
    ]
    for form in forms:
        assert labels(client.post(URL, json=form)) == ["frog", "frog"], form


def test_an_answer_has_what_predict_says(client: httpx.Client, frog: bytes) -> None:
    sent = {"instances": [base64.b64encode(frog).decode()]}
    (found,) = client.post(URL, json=sent | {"params": {"top_k": 2}}).json()["predictions"]
    assert found.keys() == {"label", "index", "probability", "ood_score", "is_ood", "top"}
    assert len(found["top"]) == 2
    (vertex,) = client.post(URL, json=sent | {"parameters": {"top_k": 4}}).json()["predictions"]
    assert len(vertex["top"]) == 4
    assert labels(client.post(f"{URL}?model=tutorial", json=sent))


def test_ping_and_health_are_answered(client: httpx.Client) -> None:
    assert client.get("/ping").status_code == 200
    assert client.get("/health").status_code == 200
    assert client.get("/version").text


@pytest.mark.parametrize(
    ("document", "status", "part"),
    [
        ([], 422, "object"),
        ({}, 422, "exactly one"),
        ({"instances": ["x"], "inputs": ["x"]}, 422, "exactly one"),
        ({"instances": ["!"]}, 422, "Base64"),
        ({"instances": ["aGVsbG8="]}, 415, "expected JPEG"),
        ({"instances": ["aGVsbG8="] * 300}, 413, "256"),
        ({"dataframe_split": 7}, 422, "dataframe_split"),
        ({"dataframe_split": {"data": [["a", "b"]]}}, 422, "one column"),
        ({"dataframe_records": {"image": 1}}, 422, "/dataframe_records"),
        ({"instances": ["aGVsbG8="], "params": 7}, 422, "params is 7"),
    ],
)
def test_a_bad_request_is_rejected_in_a_form_that_clients_read(
    client: httpx.Client, document: Any, status: int, part: str
) -> None:
    assert_error(client.post(URL, json=document), status, part)


def test_a_bad_option_or_type_is_rejected(client: httpx.Client, frog: bytes) -> None:
    sent = {"instances": [base64.b64encode(frog).decode()], "params": {"top_k": 11}}
    assert_error(client.post(URL, json=sent), 422, "1 to 10")
    assert_error(client.post(URL, content=b"a,b", headers={"Content-Type": "text/csv"}), 415, "text/csv")
    assert_error(client.post(f"{URL}?model=nope", content=frog), 404, "accurate, fast, tutorial")
    assert_error(client.get(URL), 405, "POST")
