import asyncio
import inspect
import logging
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from app import errors
from app.errors import ConvoscopeError
from app.server import problems
from app.server.in_flight import InFlight
from app.server.middleware import RequestMiddleware
from app.server.origins import Origins
from app.settings import Settings
from app.wire.problems import KINDS
from tests.conftest import assert_problem, running

LEAVES = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, ConvoscopeError) and error is not ConvoscopeError
]


def test_every_error_is_drawn_in_the_tree_and_has_a_status() -> None:
    assert errors.__doc__
    for error in LEAVES:
        assert f"─ {error.__name__} " in errors.__doc__
        assert error in KINDS


def test_every_error_a_caller_sees_has_its_own_type_and_title() -> None:
    assert len({error.type for error in LEAVES}) == len({KINDS[error].title for error in LEAVES}) == len(LEAVES)


@pytest.fixture(scope="module")
def broken() -> Iterator[httpx.Client]:
    """A service whose only route raises whatever error the path names."""
    app = FastAPI()
    app.state.service = SimpleNamespace(settings=Settings())
    app.add_middleware(RequestMiddleware, in_flight=InFlight(Settings()), origins=Origins("127.0.0.1", ""))
    problems.install(app)

    @app.get("/{name}")
    async def fail(name: str) -> None:
        error = getattr(errors, name, None)
        raise error("a detail") if error in LEAVES else (error or RuntimeError)("a secret")

    with running(app) as client:
        yield client


@pytest.mark.parametrize("error", LEAVES)
def test_every_error_becomes_its_own_problem(broken: httpx.Client, error: type[ConvoscopeError]) -> None:
    body = assert_problem(broken.get(f"/{error.__name__}"), KINDS[error].status, error.type)
    assert (body["title"], body["detail"]) == (KINDS[error].title, "a detail")


@pytest.mark.parametrize("error", ["unforeseen"])
def test_a_mistake_of_ours_is_logged_and_told_to_nobody(
    broken: httpx.Client, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    with caplog.at_level(logging.ERROR):
        body = assert_problem(broken.get(f"/{error}"), 500, "internal-error")
    assert "secret" not in str(body)
    assert "Traceback" not in str(body)
    (record,) = [record for record in caplog.records if record.name == "app.server.problems"]
    assert body["request_id"] in record.getMessage()
    assert "a secret" in str(record.exc_info)


def test_an_unknown_page_and_a_wrong_method_are_problems(client: httpx.Client) -> None:
    assert_problem(client.get("/nope"), 404, "not-found")
    refused = client.get("/predict")
    assert assert_problem(refused, 405, "method-not-allowed")["detail"].endswith("; expected POST")
    assert refused.headers["allow"] == "POST"
    assert client.head("/predict").headers["allow"] == "POST"
    assert client.post("/models").headers["allow"] == "GET, HEAD"
    assert client.post("/static/style.css").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/models", "/models/fast", "/masks", "/docs"])
def test_what_can_be_asked_for_has_a_head(client: httpx.Client, path: str) -> None:
    got, asked = client.get(path), client.head(path)
    assert asked.status_code == got.status_code == 200
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert asked.content == b""


def test_an_option_that_a_page_does_not_have_is_a_slip_of_the_pen(client: httpx.Client, frog: bytes) -> None:
    refused = client.post("/predict?topk=5", content=frog, headers={"Content-Type": "image/png"})
    detail = assert_problem(refused, 422, "invalid-input", "topk")["detail"]
    assert detail == "no option is called 'topk'; expected one of model, top_k, views"
    assert_problem(client.get("/models?verbose=1"), 422, "invalid-input", "verbose")
    assert client.get("/healthz?probe=1").status_code == 200


def test_a_path_is_taken_as_it_is(client: httpx.Client) -> None:
    assert_problem(client.get("/models/", headers={"Host": "localhost:9"}), 404, "not-found")


def test_a_compressed_body_is_refused_by_name(client: httpx.Client, frog: bytes) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    for path in ("/predict", "/convolve", "/explain"):
        refused = client.post(path, content=frog, headers=headers)
        assert_problem(refused, 415, "unsupported-picture", "Content-Encoding")
    headers["Content-Encoding"] = "identity"
    assert client.post("/predict", content=frog, headers=headers).status_code == 200


def test_several_accept_headers_count_as_one(client: httpx.Client, frog: bytes) -> None:
    headers = [("Content-Type", "image/png"), ("Accept", "text/html"), ("Accept", "image/png")]
    assert client.post("/explain", content=frog, headers=headers).headers["content-type"] == "image/png"


def test_draining_waits_for_work_in_hand_and_not_for_ever() -> None:
    async def main() -> None:
        await InFlight(Settings()).drain(60)
        work = InFlight(Settings())
        work.enter()
        draining = asyncio.create_task(work.drain(60))
        await asyncio.sleep(0.01)
        assert not draining.done()
        work.leave()
        await asyncio.wait_for(draining, 20)
        work = InFlight(Settings())
        work.enter()
        await asyncio.wait_for(work.drain(0.01), 20)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "option", "value", "detail"),
    [
        ("/predict", "views", "99", "views is 99; expected an integer from 1 to 14"),
        ("/feature-maps", "decimals", "10", "decimals is 10; expected an integer from 0 to 9"),
        ("/feature-maps", "top", "0", "top is 0; expected an integer of at least 1"),
        ("/feature-maps", "channels", "x", "channels is 'x'; expected an integer of at least 0"),
        ("/feature-maps", "scale", "x", "scale is 'x'; expected one of layer, map, all"),
        ("/explain", "grid", "x", "grid is 'x'; expected an integer from 1 to 32"),
        ("/explain", "opacity", "2", "opacity is 2; expected a number from 0 to 1"),
        ("/explain", "method", "", "method is ''; expected one of lime, occlusion, cam"),
    ],
)
def test_every_bad_option_of_a_url_is_told_in_the_same_words(
    client: httpx.Client, frog: bytes, path: str, option: str, value: str, detail: str
) -> None:
    answer = client.post(path, content=frog, headers={"Content-Type": "image/png"}, params={option: value})
    assert assert_problem(answer, 422, "invalid-input", option)["detail"] == detail


def test_several_bad_options_are_all_told(client: httpx.Client, frog: bytes) -> None:
    answer = client.post("/explain", content=frog, headers={"Content-Type": "image/png"}, params={"grid": 0, "size": 0})
    problem = assert_problem(answer, 422, "invalid-input", "grid", "size")
    assert problem["detail"] == "; ".join(error["detail"] for error in problem["errors"])
