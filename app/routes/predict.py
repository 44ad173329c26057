"""POST /predict: pictures in, labels with calibrated probabilities out."""

import time
from functools import lru_cache
from types import SimpleNamespace
from typing import Annotated
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.prediction import prediction
from app.routes.http import PICTURES, has_left, problems, read_body, timing
from app.schemas import Predictions
from app.service import Service

router = APIRouter(tags=["predict"])

PLAIN_TOP_K = {str(number): number for number in range(1, 11)}
ROUTE = SimpleNamespace(path="/predict")
"""What metrics read of a matched route."""


@router.post(
    "/predict",
    response_model=Predictions,
    responses=problems(400, 404, 413, 415, 422, 503, 504),
    openapi_extra=PICTURES,
)
async def predict(
    request: Request,
    model: Annotated[str | None, Query(description="a name from /models; the default model without it")] = None,
    top_k: Annotated[int, Query(ge=1, le=10, description="how many labels to list")] = 3,
) -> Response:
    """Say what is in each picture.

    The pictures come as multipart parts (any names), as a raw body with an `image/*` type, as JSON with Base64, or as
    an npy array (uint8, N x H x W x 3 or H x W x 3). One bad picture refuses the request, naming every bad one.
    """
    content, steps = await _answered(request.scope, request.receive, model, top_k)
    return Response(content, headers={"Server-Timing": steps}, media_type="application/json")


def is_plain(scope: Scope) -> bool:
    """Whether it is a POST /predict whose query is in order; what is wrong with another's is told by the route."""
    if scope["path"] != "/predict" or scope["method"] != "POST":
        return False
    scope["predict"] = _plain_query(scope["query_string"])
    return scope["predict"] is not None


@lru_cache(maxsize=256)  # callers ask the same way again and again
def _plain_query(query: bytes) -> tuple[str | None, int] | None:
    """The model and top_k asked for; None where there is more, or something wrong."""
    options = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    model, top_k = options.pop("model", None), PLAIN_TOP_K.get(options.pop("top_k", "3"))
    return (model, top_k) if top_k and not options else None


def check_room(scope: Scope) -> None:
    """Raises Overloaded where the queue of the network that a plain request asks for is full."""
    service: Service = scope["app"].state.service
    scope["route"] = ROUTE
    network = service.networks.get(scope["predict"][0] or service.catalog.default)
    if network:  # of an unknown one the route tells
        network.refuse_without_room()


async def answer_plain(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a plain POST /predict as the route does, without FastAPI."""
    scope["route"] = ROUTE
    content, steps = await _answered(scope, receive, *scope["predict"])
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
        (b"server-timing", steps.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _answered(scope: Scope, receive: Receive, model: str | None, top_k: int) -> tuple[bytes, str]:
    """The answer's JSON and its Server-Timing."""
    service: Service = scope["app"].state.service
    network = service.network(model)
    network.refuse_without_room()
    headers = dict(scope["headers"])
    body = await read_body(headers, receive, service.settings.max_body)
    received = time.perf_counter()
    pictures = await service.pictures(headers.get(b"content-type", b"").decode("latin-1"), body)
    decoded = time.perf_counter()
    left = service.settings.deadline - (decoded - received)
    answer = await network.scores(pictures, lambda: has_left(receive), left)
    inferred = time.perf_counter()
    metadata = network.metadata
    found = [prediction(scores, metadata, top_k) for scores in answer.results]
    content = orjson.dumps({"model": metadata.name, "version": metadata.version, "predictions": found})
    steps = timing(
        decode=decoded - received,
        queue=answer.queued,
        infer=answer.ran,
        encode=time.perf_counter() - inferred,
    )
    return content, steps
