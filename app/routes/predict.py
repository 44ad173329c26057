"""POST /predict: pictures in, labels with calibrated probabilities out."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import InvalidInput
from app.imaging import MAX_VIEWS
from app.inference.network import Network
from app.inference.prediction import document
from app.routes.http import PICTURES, body_of, has_left, path_of, problems
from app.routes.service import Service
from app.wire import options
from app.wire.schemas import Predictions

router = APIRouter(tags=["predict"])

PATH = "/predict"
OPTIONS = ("model", "top_k", "views")
DEFAULT_TOP_K = 3
Options = tuple[str | None, int | str | None, int]
"""The model, `top_k` (not checked yet) and `views` that a request asks for; None for the default."""
TIMING = b"decode;dur=%.3f, queue;dur=%.3f, infer;dur=%.3f, encode;dur=%.3f"
"""Milliseconds."""
LONGEST_QUERY = 256
"""Bytes; what a longer one asks for is not remembered."""


@router.post(
    PATH,
    response_model=Predictions,
    responses=problems(400, 404, 413, 415, 422, 503, 504),
    openapi_extra=PICTURES,
)
async def predict(
    model: Annotated[str | None, Query(description="a name from /models; the default model without it")] = None,
    top_k: Annotated[int, Query(ge=1, description="how many labels to list, at most all")] = DEFAULT_TOP_K,
    views: Annotated[
        int,
        Query(
            ge=1,
            le=MAX_VIEWS,
            description="up to how many views of each picture to average: the picture, its mirror image, all of it "
            "where it is not square, and closer parts, as far as it has the pixels; each costs as much as another "
            "picture",
        ),
    ] = 1,
) -> None:
    """Say what is in each picture.

    The pictures come as multipart parts (any names), as a raw body, as JSON with Base64, or as an npy array (uint8,
    N x H x W x 3 or H x W x 3). The options may also come as text fields of a form. One bad picture rejects the whole
    request, and the answer names every bad one.
    """
    raise NotImplementedError("this describes the route for OpenAPI; Predict answers")


class Predict:
    """Answers POST /predict before FastAPI's routing, which takes more time than the rest of a small prediction."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` answers every other request."""
        self.app = app
        self.route: BaseRoute = next(route for route in router.routes if getattr(route, "path", "") == PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and path_of(scope) == PATH:
            scope["route"] = self.route
            await _answer(Request(scope, receive), send)
        else:
            await self.app(scope, receive, send)


async def _answer(request: Request, send: Send) -> None:
    service: Service = request.app.state.service
    query = request.scope["query_string"]
    model, top_k, views = _remembered(query) if len(query) <= LONGEST_QUERY else _options(query)
    network = service.network(model)
    most = _at_most(network, top_k)
    network.reject_without_room()
    body = await body_of(request, service.settings.max_body)
    deadline = service.deadline()
    received = time.perf_counter()
    found = await service.received(request, body, network.metadata.input, deadline, views)
    if found.fields:
        before = network.metadata.input, views
        model, top_k, views = _with_fields(found.fields, query)
        network = service.network(model)
        most = _at_most(network, top_k)
        if (network.metadata.input, views) != before:  # only now is it known what the pictures are for
            found = await service.received(request, body, network.metadata.input, deadline, views)
    decoded = time.perf_counter()
    answer = await network.scores(found.pictures, deadline, lambda: has_left(request.receive), views=found.views)
    inferred = time.perf_counter()
    if service.takes_notes:
        service.note(request, network, found.pictures, answer.results)
    content = document(network.metadata, answer.results, most, views=views > 1)
    steps = decoded - received, answer.queued, answer.ran, time.perf_counter() - inferred
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
        (b"server-timing", TIMING % tuple([1e3 * seconds for seconds in steps])),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _at_most(network: Network, top_k: int | str | None) -> int:
    """How many labels to list. Raises InvalidInput if the network has fewer than were asked for."""
    return options.top_k(top_k, "top_k", len(network.metadata.labels), DEFAULT_TOP_K)


def _options(query: bytes) -> Options:
    """What a query string asks for. Raises InvalidInput."""
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    options.check_names(given, OPTIONS)
    return _checked(dict(given))


def _with_fields(fields: Mapping[str, str], query: bytes) -> Options:
    """The same, where a form has options as text fields; those of the query come first. Other fields are ignored."""
    for name in OPTIONS:
        if f"{name}[1]" in fields:  # as a form's repeated parts are called
            raise InvalidInput.about(name, f"{name} is given more than once; expected one value")
    given = {name: fields[name].strip() for name in OPTIONS if name in fields}
    return _checked(given | dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))


def _checked(given: Mapping[str, str]) -> Options:
    top_k = options.number(given["top_k"]) if "top_k" in given else None  # which network bounds it is known later
    views = options.integer("views", options.number(given.get("views", "1")), "views", 1, MAX_VIEWS)
    return given.get("model"), top_k, views


_remembered = lru_cache(maxsize=256)(_options)  # clients ask the same way again and again
