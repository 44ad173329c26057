"""POST /predict: pictures in, labels with calibrated probabilities out."""

import asyncio
import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.errors import DeadlineExceeded, FieldError, MalformedRequest, TooLarge
from app.prediction import predictions
from app.schemas import PicturesBody, Predictions, Problem
from app.service import Service

router = APIRouter(tags=["predict"])

BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One picture or several: JPEG, PNG, WebP, GIF, BMP or TIFF; the bytes decide.",
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
            },
            "image/*": BINARY,
            "application/json": {"schema": PicturesBody.model_json_schema()},
            "application/x-npy": BINARY,
        },
    }
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}}
    for status in (400, 404, 413, 415, 422, 503, 504)
}


@router.post("/predict", response_model=Predictions, responses=PROBLEMS, openapi_extra=BODY)
async def predict(
    request: Request,
    model: Annotated[str | None, Query(description="a name from /models; the default model without it")] = None,
    top_k: Annotated[int, Query(ge=1, le=10, description="how many labels to list")] = 3,
) -> Response:
    """Say what is in each picture.

    The pictures come as multipart parts (any names), as a raw body with an `image/*` type, as JSON with Base64, or as
    an npy array (uint8, N x H x W x 3 or H x W x 3). One bad picture refuses the request, naming every bad one.
    """
    service: Service = request.app.state.service
    network = service.network(model)
    body = await read_body(request, service.settings.max_body)
    received = time.perf_counter()
    deadline = service.settings.deadline
    try:
        async with asyncio.timeout(deadline):
            pictures = await service.pictures(request.headers.get("content-type", ""), body)
            decoded = time.perf_counter()
            logits, answer = await network.logits(pictures, request.is_disconnected)
    except TimeoutError:
        raise DeadlineExceeded(f"no answer within {deadline:g} s") from None
    inferred = time.perf_counter()
    metadata = network.metadata
    content = orjson.dumps(
        {
            "model": metadata.name,
            "version": metadata.version,
            "predictions": predictions(logits, metadata, top_k),
        }
    )
    timing = {
        "decode": decoded - received,
        "queue": answer.queued,
        "infer": answer.ran,
        "encode": time.perf_counter() - inferred,
    }
    headers = {"Server-Timing": ", ".join(f"{step};dur={seconds * 1e3:.3f}" for step, seconds in timing.items())}
    return Response(content, headers=headers, media_type="application/json")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to exceed `limit` bytes."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal():
        raise MalformedRequest(f"Content-Length is {declared!r}; expected a number of bytes")
    chunks: list[bytes] = []
    size = int(declared)
    if size <= limit:
        size = 0
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                break
    if size > limit:
        detail = f"the body has {size} bytes or more; expected at most {limit}"
        raise TooLarge(detail, [FieldError("body", detail)])
    return b"".join(chunks)
