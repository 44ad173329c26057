import base64
from typing import Any

import httpx
import pytest

from tests.routes.protocols.helpers import assert_error

URL = "/models/fast"


@pytest.mark.parametrize("kind", [None, "image/png", "application/octet-stream"])
def test_the_bytes_of_a_picture_get_its_labels(client: httpx.Client, frog: bytes, kind: str | None) -> None:
    response = client.post(URL, content=frog, headers={"Content-Type": kind} if kind else {})
    assert response.headers["content-type"] == "application/json"
    found = response.json()
    assert len(found) == 5
    assert found[0].keys() == {"label", "score"}
    assert found[0]["label"] == "frog"
    scores = [label["score"] for label in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.5


def test_parameters_come_in_json(client: httpx.Client, frog: bytes) -> None:
    sent = {"inputs": base64.b64encode(frog).decode(), "parameters": {"top_k": 2}}
    found = client.post(URL, json=sent).json()
    assert len(found) == 2
    raw = client.post(URL, content=frog).json()
    assert found[0]["score"] == pytest.approx(raw[0]["score"])


def test_the_function_decides_what_a_score_is(client: httpx.Client, frog: bytes) -> None:
    def scores(function: str) -> list[float]:
        parameters = {"top_k": 10, "function_to_apply": function}
        sent = {"inputs": base64.b64encode(frog).decode(), "parameters": parameters}
        return [label["score"] for label in client.post(URL, json=sent).json()]

    assert sum(scores("softmax")) == pytest.approx(1)
    assert all(0 <= score <= 1 for score in scores("sigmoid"))
    assert max(scores("none")) > 1


def test_the_same_path_still_describes_the_model(client: httpx.Client) -> None:
    assert client.get(URL).json()["name"] == "fast"
    assert client.get("/models/nope").headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("document", "status", "part"),
    [
        ([], 422, "object"),
        ({}, 422, "/inputs is null"),
        ({"inputs": "!"}, 422, "Base64"),
        ({"inputs": "aGVsbG8="}, 415, "expected JPEG"),
        ({"inputs": "aGVsbG8=", "parameters": []}, 422, "parameters"),
        ({"inputs": "aGVsbG8=", "parameters": {"top_k": 11}}, 422, "1 to 10"),
        ({"inputs": "aGVsbG8=", "parameters": {"function_to_apply": "x"}}, 422, "softmax"),
        ({"inputs": "aGVsbG8=", "parameters": {"function_to_apply": ["x"]}}, 422, "softmax"),
    ],
)
def test_a_bad_request_is_rejected_in_a_form_that_the_client_reads(
    client: httpx.Client, document: Any, status: int, part: str
) -> None:
    assert_error(client.post(URL, json=document), status, part)


def test_what_is_not_a_picture_or_a_model_is_rejected(client: httpx.Client, frog: bytes) -> None:
    assert_error(client.post(URL, content=b"hello"), 415, "expected JPEG")
    assert_error(client.post(URL, content=b""), 400, "empty")
    assert_error(client.post("/models/nope", content=frog), 404, "accurate, fast, tutorial")
    assert_error(client.post(URL, content=frog, headers={"Content-Type": "text/plain"}), 415, "text/plain")
