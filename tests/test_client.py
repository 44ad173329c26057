import asyncio
import inspect
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from convoscope_client import AsyncClient, Client, Picture
from convoscope_client.errors import (
    InternalError,
    InvalidInput,
    MalformedRequest,
    NotFound,
    Overloaded,
    UnsupportedPicture,
)
from tests.conftest import PICTURES

ROOT = PICTURES.parent.parent


@pytest.fixture
def url(client: httpx.Client) -> str:
    return str(client.base_url)


def test_a_caller_gets_predictions_from_bytes_and_paths(url: str, frog: bytes) -> None:
    with Client(url) as client:
        answer = client.predict(frog, PICTURES / "ship.png", model="fast", top_k=2)
        closer = client.predict(np.zeros((64, 50, 3), np.uint8), views=14)
    assert [prediction.label for prediction in answer.predictions] == ["frog", "ship"]
    assert [len(prediction.top) for prediction in answer.predictions] == [2, 2]
    assert [prediction.views for prediction in answer.predictions + closer.predictions] == [None, None, 14]


def test_the_async_client_answers_the_same(url: str) -> None:
    async def predict(*pictures: Path) -> list[str]:
        async with AsyncClient(url) as client:
            assert (await client.model("fast")).labels[0] == "airplane"
            assert {model.name for model in (await client.models()).models} >= {"fast"}
            return [p.label for p in (await client.predict(*pictures)).predictions]

    assert asyncio.run(predict(PICTURES / "truck.png", PICTURES / "cat.png")) == ["truck", "cat"]


def test_a_caller_convolves_arrays_and_pictures(url: str, frog: bytes) -> None:
    npy = io.BytesIO()
    np.save(npy, np.array([1.0, 2, 3]))
    with Client(url) as client:
        assert client.convolve([1, None, 3], [1], missing="zero").output == [1, 0, 3]
        assert client.convolve(npy.getvalue(), [2]).output == [2, 4, 6]
        assert client.convolve(frog, "box_blur", color="gray").shape == [32, 32]
        assert client.convolve_to("image/png", PICTURES / "frog.png", "outline").startswith(b"\x89PNG")
        assert client.pool([[1, 2], [3, 4]], kind="average").output == [[2.5]]
        assert "emboss" in {mask.name for mask in client.masks().masks}
        with pytest.raises(InvalidInput, match="stride is 0") as refusal:
            client.convolve([1], [1], stride=0)
        assert [error.field for error in refusal.value.errors] == ["/stride"]

    async def convolve() -> None:
        async with AsyncClient(url) as client:
            assert (await client.convolve([1, 2], [3], trace={"at": [1]})).trace.sum == 6  # type: ignore[union-attr]
            assert (await client.convolve_to("application/x-npy", [1], [1])).startswith(b"\x93NUMPY")
            assert (await client.pool([1, 2])).output == [2]
            assert len((await client.masks()).masks) > 10

    asyncio.run(convolve())


def test_a_caller_looks_inside(url: str, frog: bytes) -> None:
    with Client(url) as client:
        maps = client.feature_maps(frog, model="fast", layer=["whiten", "pool"], top=2)
        assert [layer.name for layer in maps.layers] == ["whiten", "pool"]
        assert [len(layer.maps) for layer in maps.layers] == [2, 1]
        assert client.feature_maps_to("image/png", frog, layer="whiten").startswith(b"\x89PNG")
        explained = client.explain(frog, method="occlusion", grid=2, label=None)
        assert (explained.label, len(explained.hottest or [])) == ("frog", 4)
        assert client.explain_to("image/png", frog).startswith(b"\x89PNG")
        assert client.kernels("fast", "whiten", filter=[1]).shape == [2, 2, 3, 24]

    async def look() -> None:
        async with AsyncClient(url) as client:
            assert (await client.feature_maps(frog, layer="head")).layers[0].kind == "dense"
            assert (await client.feature_maps_to("application/x-npz", frog)).startswith(b"PK")
            assert (await client.explain(frog)).method == "lime"
            assert (await client.explain_to("image/png", frog)).startswith(b"\x89PNG")
            assert len((await client.kernels("tutorial", "conv1")).kernels) == 96

    asyncio.run(look())


def test_a_refusal_comes_back_as_the_services_own_exception(url: str, frog: bytes) -> None:
    with Client(url) as client:
        with pytest.raises(UnsupportedPicture) as refusal:
            client.predict(frog, b"hello")
        assert [error.field for error in refusal.value.errors] == ["image[1]"]
        for name in ("nope", ".", ".."):
            with pytest.raises(NotFound, match=f"'{name}'"):
                client.model(name)


def test_an_answer_that_is_no_problem_json_is_told_as_it_is() -> None:
    async def page(scope: object, receive: object, send: object) -> None: ...

    with (
        Client(
            "http://test", transport=httpx.MockTransport(lambda request: httpx.Response(502, text="<html>"))
        ) as client,
        pytest.raises(InternalError, match="502 Bad Gateway"),
    ):
        client.models()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"models": 1}'])
def test_an_answer_of_another_service_is_told_apart(body: bytes) -> None:
    with (
        Client(
            "http://test", transport=httpx.MockTransport(lambda request: httpx.Response(200, content=body))
        ) as client,
        pytest.raises(InternalError, match="http://test/models answered 200, but not as Convoscope does"),
    ):
        client.models()


def test_a_field_that_is_younger_than_the_client_is_left_out() -> None:
    masks = {"masks": [], "colour": "blue"}
    with Client(
        "http://test", transport=httpx.MockTransport(lambda request: httpx.Response(200, json=masks))
    ) as client:
        assert client.masks().masks == []


def test_a_number_that_json_has_no_word_for_is_the_services_to_refuse(url: str) -> None:
    with Client(url) as client, pytest.raises(MalformedRequest, match=r"body is not valid JSON: .* column 13"):
        client.convolve([[float("nan")]], [[1]])


def test_an_option_that_is_none_is_not_sent(url: str) -> None:
    with Client(url) as client:
        assert len(client.kernels("fast", "whiten", filter=None, channel=0).kernels) == 24


def test_a_mistake_of_the_services_is_an_internal_error() -> None:
    problem = {"type": "/problems/internal-error", "title": "Internal error", "status": 500, "detail": "sorry"}
    answer = httpx.Response(500, json={**problem, "request_id": "1", "errors": []})
    mock = httpx.MockTransport(lambda request: answer)
    with Client("http://test", transport=mock) as client, pytest.raises(InternalError, match="sorry"):
        client.models()


def test_pictures_come_in_every_form_people_have(url: str, frog: bytes, tmp_path: Path) -> None:
    path = PICTURES / "frog.png"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    with path.open("rb") as file, Client(url) as client:
        forms: list[Picture] = [
            str(path),
            path,
            frog,
            bytearray(frog),
            memoryview(frog),
            file,
            Image.open(path),
            pixels,
        ]
        answer = client.predict(*forms, model="fast")
        assert [prediction.label for prediction in answer.predictions] == ["frog"] * len(forms)
        assert client.convolve(Image.fromarray(pixels).convert("CMYK"), "identity").shape == [32, 32, 3]
        assert client.convolve(np.array([[1.0, 2.0]]), [[2]]).output == [[2, 4]]


@pytest.mark.parametrize(
    "url", ["", "foo", "127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999", "unix:"]
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_address_that_cannot_be_is_rejected_with_what_is_expected(
    kind: type[Client] | type[AsyncClient], url: str
) -> None:
    with pytest.raises(ValueError, match=rf"url is {re.escape(repr(url))}; expected http://HOST:PORT, .* or unix:PATH"):
        kind(url)


@pytest.mark.parametrize("picture", [5, None, object(), io.StringIO("x"), ["x"]])
def test_anything_else_is_a_type_error_that_lists_what_is_taken(picture: Any) -> None:
    with Client("http://test") as client, pytest.raises(TypeError, match="expected a path, bytes, a file opened for"):
        client.predict(picture)


def test_a_full_service_and_a_lost_connection_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    answers = iter([httpx.ReadError("lost"), httpx.Response(503, headers={"Retry-After": "3"}), None])
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.read())
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found or httpx.Response(200, json={"model": "m", "version": "1", "predictions": []})

    with Client("http://test", transport=httpx.MockTransport(answer)) as client:
        assert client.predict(io.BytesIO(b"picture")).model == "m"
    assert 0.05 < waits[0] < 0.2
    assert waits[1:] == [3]
    assert all(b"picture" in body for body in seen)


@pytest.mark.parametrize("status", [500, 502])
def test_what_a_proxy_lost_is_tried_again_and_our_own_failure_is_not(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    lost = httpx.Response(status, text="Internal Server Error")
    problem = {"type": "/problems/internal-error", "title": "", "status": status, "detail": "ours", "request_id": "1"}
    ours = httpx.Response(status, json=problem, headers={"Content-Type": "application/problem+json"})
    answers = iter([lost, httpx.Response(200, json={"masks": []}), ours])
    with Client("http://test", transport=httpx.MockTransport(lambda request: next(answers))) as client:
        assert not client.masks().masks
        with pytest.raises(InternalError, match="ours"):
            client.masks()


def test_attempts_end_with_the_last_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    problem = {"type": "/problems/overloaded", "title": "", "status": 503, "detail": "full", "request_id": "1"}
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503, json=problem)

    mock = httpx.MockTransport(answer)
    with Client("http://test", transport=mock, retries=1) as client, pytest.raises(Overloaded, match="full"):
        client.masks()
    assert len(asked) == 2


def test_headers_and_a_key_are_sent() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.headers["authorization"], request.headers["x-a"]) == ("Bearer secret", "b")
        return httpx.Response(200, json={"masks": []})

    async def masks() -> None:
        async with AsyncClient("http://t", api_key="secret", headers={"X-A": "b"}, transport=mock) as client:
            await client.masks()

    mock = httpx.MockTransport(answer)
    with Client("http://t", api_key="secret", headers={"X-A": "b"}, transport=mock) as client:
        client.masks()
    asyncio.run(masks())


def test_both_clients_have_the_same_methods_with_the_same_options() -> None:
    def methods(kind: type) -> dict[str, inspect.Signature]:
        return {n: inspect.signature(m) for n, m in vars(kind).items() if inspect.isfunction(m) and n[0] != "_"}

    blocking, awaited = methods(Client), methods(AsyncClient)
    assert blocking.keys() == awaited.keys() >= {"predict", "convolve", "close"}
    assert all(blocking[name].parameters == awaited[name].parameters for name in blocking)
    assert "top_k" in blocking["predict"].parameters


def test_what_the_client_knows_of_the_wire_is_what_the_service_knows() -> None:
    """If this fails: python client/copy_wire.py"""
    found = runpy.run_path(str(ROOT / "client" / "copy_wire.py"))["copies"]()
    assert {path.name: path.read_text() for path in found} == {path.name: text for path, text in found.items()}


def test_the_package_is_typed_and_its_import_loads_nothing_of_the_service() -> None:
    assert (ROOT / "client" / "convoscope_client" / "py.typed").exists()
    code = "import sys, convoscope_client; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "client"
    )
    assert not {"app", "fastapi", "numpy", "PIL", "openvino", "tensorflow"} & set(loaded.stdout.split())
