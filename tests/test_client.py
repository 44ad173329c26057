import asyncio
import io
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.client import AsyncClient, Client
from app.errors import InternalError, InvalidInput, MalformedRequest, NotFound, UnsupportedPicture
from tests.conftest import PICTURES


@pytest.fixture
def url(client: httpx.Client) -> str:
    return str(client.base_url)


def test_a_caller_gets_predictions_from_bytes_and_paths(url: str, frog: bytes) -> None:
    with Client(url) as client:
        answer = client.predict(frog, PICTURES / "ship.png", model="fast", top_k=2)
    assert [prediction.label for prediction in answer.predictions] == ["frog", "ship"]
    assert [len(prediction.top) for prediction in answer.predictions] == [2, 2]


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
        assert client.explain(frog, method="occlusion", grid=2, label=None).label == "frog"
        assert client.explain_to("image/png", frog).startswith(b"\x89PNG")
        assert client.kernels("fast", "whiten", filter=[1]).shape == [2, 2, 3, 24]

    async def look() -> None:
        async with AsyncClient(url) as client:
            assert (await client.feature_maps(frog, layer="head")).layers[0].kind == "dense"
            assert (await client.feature_maps_to("application/x-npz", frog)).startswith(b"PK")
            assert (await client.explain(frog)).method == "cam"
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

    with Client("http://127.0.0.1:1") as client:
        client._http = httpx.Client(
            base_url="http://test", transport=httpx.MockTransport(lambda request: httpx.Response(502, text="<html>"))
        )
        with pytest.raises(InternalError, match="502 Bad Gateway"):
            client.models()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"models": 1}'])
def test_an_answer_of_another_service_is_told_apart(body: bytes) -> None:
    with Client("http://test") as client:
        client._http = httpx.Client(
            base_url="http://test", transport=httpx.MockTransport(lambda request: httpx.Response(200, content=body))
        )
        with pytest.raises(InternalError, match="http://test/models answered 200, but not as Convoscope does"):
            client.models()


def test_a_field_that_is_younger_than_the_client_is_left_out() -> None:
    masks = {"masks": [], "colour": "blue"}
    with Client("http://test") as client:
        client._http = httpx.Client(
            base_url="http://test", transport=httpx.MockTransport(lambda request: httpx.Response(200, json=masks))
        )
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
    with Client("http://127.0.0.1:1") as client:
        client._http = httpx.Client(base_url="http://test", transport=httpx.MockTransport(lambda request: answer))
        with pytest.raises(InternalError, match="sorry"):
            client.models()
