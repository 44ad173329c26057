"""POST /predict: pictures in, labels with calibrated probabilities out."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.inference.prediction import document
from app.routes.http import PICTURES, body_of, has_left, problems, timing
from app.routes.service import Service
from app.wire.schemas import Predictions

router = APIRouter(tags=["predict"])


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
    service: Service = request.app.state.service
    network = service.network(model)
    network.reject_without_room()
    body = await body_of(request, service.settings.max_body)
    deadline = service.deadline()
    received = time.perf_counter()
    pictures = await service.pictures(request, body, deadline)
    decoded = time.perf_counter()
    answer = await network.scores(pictures, deadline, lambda: has_left(request.receive))
    inferred = time.perf_counter()
    content = document(network.metadata, answer.results, top_k)
    steps = timing(
        decode=decoded - received,
        queue=answer.queued,
        infer=answer.ran,
        encode=time.perf_counter() - inferred,
    )
    return Response(content, headers={"Server-Timing": steps}, media_type="application/json")
