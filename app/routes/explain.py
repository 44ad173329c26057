"""POST /explain: which parts of a picture speak for a label."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from app.deadline import Checkpoint, Deadline
from app.inference.network import Network
from app.inference.prediction import Scores
from app.interpret import explain as explaining
from app.interpret import heat_map
from app.interpret.attribution import Map
from app.interpret.explain import Method
from app.interpret.question import Question
from app.routes.http import ONE_PICTURE, accepted, binary_answers, body_of, has_left, problems, timing
from app.routes.service import Service
from app.wire import json, media_types, pictures
from app.wire.schemas import Explanation

router = APIRouter(tags=["look inside"])

OFFERED = (media_types.JSON, media_types.PNG)

Picture = NDArray[np.uint8]


@router.post(
    "/explain",
    response_model=Explanation,
    responses=binary_answers(media_types.PNG) | problems(400, 404, 406, 413, 415, 422, 503, 504),
    openapi_extra=ONE_PICTURE,
)
async def explain(
    request: Request,
    model: Annotated[str | None, Query(description="a name from /models; by default the default model")] = None,
    method: Annotated[
        Method,
        Query(
            description="`lime`, a linear model of hidden parts; `occlusion`, hidden patches; `cam`, class activation"
        ),
    ] = "lime",
    label: Annotated[
        str | None,
        Query(description="the label to explain; by default the most probable one", json_schema_extra={"minLength": 1}),
    ] = None,
    grid: Annotated[int, Query(ge=1, le=32, description="occlusion: patches along each side")] = 8,
    size: Annotated[
        int | None, Query(ge=1, description="occlusion: a patch's side in the network's pixels; by default a quarter")
    ] = None,
    opacity: Annotated[float, Query(ge=0, le=1, description="PNG: how opaque the map is, from 0 to 1")] = 0.5,
) -> Response:
    """Draw a heat map of what in the picture makes the network say a label.

    The picture is sent in any of the ways that /predict takes. `Accept` chooses between JSON and the map laid over the
    picture, a PNG of at most 1600 pixels along its longer side. The network sees the middle of the picture (`seen`);
    outside it the map is 0 and the PNG is dark. `how`, or the PNG's header `X-How`, says how the map was computed, and
    whether nothing in the picture speaks for the label. `drop` says how much hiding the hottest part lowers the
    label's probability: a map has a hottest part even where no part matters.
    """
    service: Service = request.app.state.service
    network = service.network(model)
    chosen = media_types.choose(accepted(request), OFFERED)
    explaining.check_grid(method, grid, service.settings.max_pictures)
    patch = explaining.patch_size(network.metadata, size)
    index = None if label is None else explaining.label_index(network.metadata, label)
    kind = request.headers.get("content-type", "")
    service.reject_without_room(request)
    body = await body_of(request, service.settings.max_body)
    task = _Task(request, service, network, service.deadline())
    started = time.perf_counter()
    async with task.deadline.enforced():
        picture, original = await task.decoded(kind, body)
        decoded = time.perf_counter()
        question = await task.question(picture, index, grid, patch)
        found = await explaining.explain(method, question)
        inferred = time.perf_counter()
        if chosen == media_types.PNG:
            content, headers = await task.overlaid(original, found.heat, opacity), {"X-How": found.how}
        else:
            content, headers = json.encode(heat_map.document(method, question, found, original)), {}
    steps = timing(decode=decoded - started, infer=inferred - decoded, encode=time.perf_counter() - inferred)
    return Response(content, headers=headers | {"Server-Timing": steps}, media_type=chosen)


@dataclass(frozen=True, slots=True)
class _Task:
    """One request's work, which shares its deadline."""

    request: Request
    service: Service
    network: Network
    deadline: Deadline

    async def decoded(self, kind: str, body: bytes) -> tuple[Picture, Picture]:
        """The picture as the network receives it, exactly as for /predict, and all its pixels."""
        settings = self.service.settings

        def work(checkpoint: Checkpoint) -> tuple[Picture, Picture]:
            picture = pictures.one(kind, body, self.network.metadata.input, settings)
            checkpoint()
            return picture, pictures.original(kind, body, settings)

        return await self.service.compute(self.request, self.deadline, work)

    async def question(self, picture: Picture, index: int | None, grid: int, size: int) -> Question:
        """What to ask about the picture and a label, by default the most probable one."""
        (scores,) = await self.scores(picture[None])
        index = scores.order[0] if index is None else index

        async def activations(layers: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
            return await self.service.compute(
                self.request, self.deadline, lambda checkpoint: self.network.activations(picture, layers)
            )

        return Question(
            self.network.metadata,
            picture,
            index,
            float(scores.probabilities[index]),
            grid,
            size,
            self.service.settings.max_pictures,
            self.scores,
            activations,
            self.weights,
        )

    async def scores(self, pictures: NDArray[np.uint8]) -> Sequence[Scores]:
        answer = await self.network.scores(
            list(pictures), self.deadline, lambda: has_left(self.request.receive), counted=False
        )
        return answer.results

    async def weights(self) -> Mapping[str, NDArray[Any]]:
        """In a thread, because the first call reads them from the disk."""
        return await self.service.compute(self.request, self.deadline, lambda checkpoint: self.network.weights)

    async def overlaid(self, original: Picture, heat: Map, opacity: float) -> bytes:
        return await self.service.compute(
            self.request,
            self.deadline,
            lambda checkpoint: heat_map.overlaid(original, heat, self.network.metadata.input.fit, opacity, checkpoint),
        )
