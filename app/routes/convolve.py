"""POST /convolve and /pool, for arrays and pictures; GET /masks: the named masks."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from app.convolution import masks
from app.convolution import pool as pooling
from app.convolution.convolve import Convolution, planned
from app.convolution.description import Description
from app.convolution.masks import MASKS
from app.convolution.pool import Pooling
from app.convolution.trace import trace
from app.deadline import Checkpoint
from app.errors import InvalidInput, TooLarge
from app.imaging import render
from app.interpret import kernels
from app.routes.http import accepted, binary_answers, body_of, operand_body, problems, timing
from app.routes.service import Service
from app.settings import Settings
from app.wire import json, media_types, npy
from app.wire import operand as operands
from app.wire.operand import Operand
from app.wire.options import validated
from app.wire.problems import in_json
from app.wire.schemas import (
    ConvolveBody,
    Convolved,
    ConvolveOptions,
    LearnedKernel,
    Mask,
    Masks,
    PoolBody,
    Pooled,
    PoolOptions,
)

router = APIRouter(tags=["convolve"])

OFFERED = (media_types.JSON, media_types.PNG, media_types.NPY)
Json = Annotated[
    str | None,
    Query(
        description="the fields as a JSON object, where the body is a picture or an npy array",
        json_schema_extra={"contentMediaType": "application/json"},
    ),
]
EXAMPLE = {"input": [[2, 4, 6], [8, 10, 12], [14, 16, 18]], "mask": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}
POOL_EXAMPLE = {"input": [[1, 2, 3, 4], [5, 6, 7, 8]], "kind": "max", "size": 2}
"""Bodies that /docs offers to send."""
Answer = tuple[bytes | memoryview, dict[str, str]]
"""Content and headers."""


@router.post(
    "/convolve",
    response_model=Convolved,
    responses=binary_answers(media_types.PNG, media_types.NPY) | problems(400, 404, 406, 413, 415, 422, 503, 504),
    openapi_extra=operand_body("ConvolveForm", ConvolveBody, EXAMPLE),
)
async def convolve(request: Request, options: Json = None) -> Response:
    """Convolve an array, or each channel of a picture, with a mask.

    A convolution flips the mask along every axis, slides it, multiplies and adds. An array comes as JSON (`input`) or
    npy, a picture as multipart (`image`) or as the body itself. The answer is JSON, PNG or npy, as `Accept` says.
    """
    return await _answered(_convolve, request, options)


@router.post(
    "/pool",
    response_model=Pooled,
    responses=binary_answers(media_types.PNG, media_types.NPY) | problems(400, 406, 413, 415, 422, 503, 504),
    openapi_extra=operand_body("PoolForm", PoolBody, POOL_EXAMPLE),
)
async def pool(request: Request, options: Json = None) -> Response:
    """Reduce each window of an array or a picture to its largest or mean value.

    Input and answer have the forms that /convolve has.
    """
    return await _answered(_pool, request, options)


@router.get("/masks", responses=problems(422))
async def list_masks() -> Masks:
    """The masks that /convolve knows by name."""
    return Masks(
        masks=[Mask(name=m.name, purpose=m.purpose, form=m.form, values=m.values.tolist()) for m in MASKS.values()]
    )


async def _answered(work: Callable[["Task"], Answer], request: Request, options: str | None) -> Response:
    """Read, work and encode in a thread; the event loop only waits."""
    service: Service = request.app.state.service
    kind, wanted = request.headers.get("content-type", ""), accepted(request)
    service.reject_without_room(request)
    body = await body_of(request, service.settings.max_body)
    deadline = service.deadline()
    received = time.perf_counter()

    def run(checkpoint: Checkpoint) -> Response:
        began = time.perf_counter()
        chosen = media_types.choose(wanted, OFFERED)
        operand, fields = operands.read(kind, body, options, service.settings)
        decoded = time.perf_counter()
        content, headers = work(Task(operand, fields, chosen, service, checkpoint))
        steps = timing(queue=began - received, decode=decoded - began, compute=time.perf_counter() - decoded)
        return Response(content, headers=headers | {"Server-Timing": steps}, media_type=chosen)

    return await service.compute(request, deadline, run)


@dataclass(frozen=True, slots=True)
class Task:
    """What one request asks: the operand, its other fields, and the media type of the answer."""

    operand: Operand
    fields: dict[str, Any]
    media_type: str
    service: Service
    checkpoint: Checkpoint

    @property
    def settings(self) -> Settings:
        return self.service.settings

    def reject_long_json(self, count: int) -> None:
        """Raise TooLarge if the answer is to be JSON and has more values than the settings allow."""
        if self.media_type == media_types.JSON:
            advice = f"Accept: {media_types.NPY} or {media_types.PNG} allows more"
            json.reject_long(count, self.settings.max_json_values, advice)

    def tiles(self, result: Convolution | Pooling) -> render.Tiles:
        """The tiles of a result; an error in one blames a field of the request."""
        with in_json():
            yield from result.tiles(self.checkpoint)


def _convolve(task: Task) -> Answer:
    options = validated(ConvolveOptions, task.fields)
    operand = task.operand.grey() if options.color == "gray" else task.operand
    mask = _mask(options.mask, 2 if operand.picture else operand.values.ndim, task.service)
    with in_json():
        convolution = planned(
            operand.values,
            mask,
            Description(**{field.name: getattr(options, field.name) for field in fields(Description)}),
            absent=operand.absent,
            arithmetic=operand.arithmetic,
            max_elements=task.settings.max_elements,
            max_multiply_adds=task.settings.max_multiply_adds,
        )
    channels = math.prod(convolution.shape[mask.ndim :])
    traced = 3 * mask.size * channels if options.trace else 0  # window, mask and products
    task.reject_long_json(math.prod(convolution.shape) + traced)
    document: dict[str, object] = {"applied": _applied(convolution) | _reduced(operand)}
    if options.trace and task.media_type == media_types.JSON:
        with in_json():
            traces = trace(convolution, options.trace.at)
        document["trace"] = traces if len(traces) > 1 else traces[0]
    content, headers = _encoded(task, convolution, operand, options.display, document)
    return content, headers | {"X-Method": convolution.method}


def _applied(convolution: Convolution) -> dict[str, object]:
    """What was done, in full."""
    axes = convolution.axes
    return {
        "operation": convolution.description.operation,
        "mask": convolution.weights,
        "padding": [(axis.before, axis.after) for axis in axes],
        "boundary": convolution.description.boundary,
        "stride": [axis.stride for axis in axes],
        "dilation": [axis.dilation for axis in axes],
        "method": convolution.method,
    }


def _reduced(operand: Operand) -> dict[str, object]:
    """What a picture's samples were, if they were reduced to 8 bits."""
    return {"reduced_from": operand.reduced_from} if operand.reduced_from else {}


def _pool(task: Task) -> Answer:
    options = validated(PoolOptions, task.fields)
    operand = task.operand.grey() if options.color == "gray" else task.operand
    values = operand.values
    with in_json():
        shape = values.shape[: 2 if operand.picture else values.ndim]
        windows = pooling.plan(shape, options.size, options.stride, options.padding)
        result = Pooling(values, options.kind, windows, task.settings.max_multiply_adds, operand.arithmetic)
    task.reject_long_json(math.prod(result.shape))
    applied = {
        "kind": options.kind,
        "size": [w.size for w in windows],
        "stride": [w.stride for w in windows],
        "padding": [(w.before, w.after) for w in windows],
    }
    return _encoded(task, result, operand, options.display, {"applied": applied | _reduced(operand)})


def _encoded(
    task: Task,
    result: Convolution | Pooling,
    operand: Operand,
    display: render.Display,
    document: dict[str, object],
) -> Answer:
    """The result in the media type that was asked for; `document` is what JSON has besides the output."""
    headers = {"X-Reduced-From": operand.reduced_from} if operand.reduced_from else {}
    if task.media_type == media_types.PNG:
        content, clipped = _png(task, result, operand, display)
        return content, headers | clipped
    if task.media_type == media_types.NPY:
        file, output = npy.empty(result.shape, result.dtype, task.settings.max_answer)
    else:
        output = np.empty(result.shape, result.dtype)
    for box, values in task.tiles(result):
        output[box] = values
    if task.media_type == media_types.NPY:
        return file, headers
    task.checkpoint()
    return json.encode({"output": output, "shape": result.shape, **document}), headers


def _png(task: Task, result: Convolution | Pooling, operand: Operand, display: render.Display) -> Answer:
    """The values as a picture, and the header that counts the pixels that did not fit.

    Raises InvalidInput for an answer of three dimensions, and TooLarge for one of too many pixels.
    """
    shape = result.shape
    if operand.values.ndim == 3 and not operand.picture:
        detail = f"the answer has the shape {list(shape)}; expected at most 2 dimensions for a PNG"
        raise InvalidInput.about("Accept", detail)
    if (pixels := math.prod(shape[:2])) > task.settings.max_pixels:
        detail = f"the PNG would have {pixels} pixels; expected at most {task.settings.max_pixels}"
        raise TooLarge.about("Accept", detail)
    line = len(shape) == 1

    def tiles() -> render.Tiles:
        for box, values in task.tiles(result):
            yield (((slice(None), *box), values[None]) if line else (box, values))

    picture, clipped = render.display((1, *shape) if line else shape, tiles, display)
    return render.png(picture, task.checkpoint), {"X-Clipped-Pixels": str(clipped)}


def _mask(mask: list[Any] | str | LearnedKernel, rank: int, service: Service) -> NDArray[np.float64]:
    """The mask's values, in whichever way it was given. Raises NotFound and InvalidInput."""
    if isinstance(mask, str):
        with in_json():
            values = masks.named(mask)
    elif isinstance(mask, LearnedKernel):
        with in_json("/mask"):
            learned = service.network(mask.model).kernel(mask.layer)
            values = kernels.one(learned, mask.layer, mask.filter, mask.channel)
    else:
        values = _numbers(operands.nested(mask, "/mask"))
    if values.ndim != rank:
        detail = f"the mask has {values.ndim} dimensions; expected {rank}, as many as the input has"
        raise InvalidInput.about("/mask", detail)
    return values


def _numbers(mask: Operand) -> NDArray[np.float64]:
    if mask.absent is not None:
        first = np.argwhere(mask.absent)[0].tolist()
        raise InvalidInput.about("/mask", f"element {first} of the mask is null; expected a number")
    return mask.values
