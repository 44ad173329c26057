"""POST /convolve and /pool: an array or a picture with a mask, or in windows; GET /masks: the masks that have names."""

import math
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.responses import Response

from app.convolution import pool as pooling
from app.convolution.convolve import Convolution
from app.convolution.masks import MASKS
from app.deadline import Checkpoint
from app.errors import FieldError, InvalidInput, NotFound
from app.imaging import render
from app.routes.http import BINARY, accepted, binary_answers, body_of, problems, schema, timing
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

FORMS = (media_types.JSON, media_types.PNG, media_types.NPY)
Json = Annotated[
    str | None,
    Query(
        description="the fields as a JSON object, where the body is a picture or an npy array",
        json_schema_extra={"contentMediaType": "application/json"},
    ),
]
Answer = tuple[bytes | memoryview, str, dict[str, str]]
"""Content, media type and headers."""


def _documented(body: type[BaseModel], options: type[BaseModel]) -> dict[str, Any]:
    multipart = {
        "image": {"type": "string", "format": "binary", "description": "a picture"},
        "input": {"type": "string", "format": "binary", "description": "or an npy array"},
        "options": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": schema(options)["schema"],
            "description": f"a JSON object: {', '.join(options.model_fields)}",
        },
    }
    content = {
        "application/json": schema(body),
        "multipart/form-data": {"schema": {"type": "object", "properties": multipart}},
        "image/*": BINARY,
        "application/x-npy": BINARY,
    }
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/convolve",
    response_model=Convolved,
    responses=binary_answers(media_types.PNG, media_types.NPY) | problems(400, 404, 406, 413, 415, 422, 503, 504),
    openapi_extra=_documented(ConvolveBody, ConvolveOptions),
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
    openapi_extra=_documented(PoolBody, PoolOptions),
)
async def pool(request: Request, options: Json = None) -> Response:
    """The largest or the mean value of each window of an array or a picture, which come and go as with /convolve."""
    return await _answered(_pool, request, options)


@router.get("/masks", responses=problems(422))
async def list_masks() -> Masks:
    """The masks that /convolve knows by name."""
    masks = [Mask(name=m.name, purpose=m.purpose, form=m.form, values=m.values.tolist()) for m in MASKS.values()]
    return Masks(masks=masks)


async def _answered(
    work: Callable[[Operand, dict[str, Any], str, Service], Answer], request: Request, options: str | None
) -> Response:
    """Read, work and encode in a thread; the event loop only waits."""
    service: Service = request.app.state.service
    kind, wanted = request.headers.get("content-type", ""), accepted(request)
    service.reject_without_room(request)
    body = await body_of(request, service.settings.max_body)
    deadline = service.deadline()
    received = time.perf_counter()

    def run(checkpoint: Checkpoint) -> Response:
        began = time.perf_counter()
        form = media_types.choose(wanted, FORMS)
        operand, fields = operands.read(kind, body, options, service.settings)
        decoded = time.perf_counter()
        content, media_type, headers = work(operand, fields, form, service)
        steps = timing(queue=began - received, decode=decoded - began, compute=time.perf_counter() - decoded)
        return Response(content, headers=headers | {"Server-Timing": steps}, media_type=media_type)

    return await service.compute(request, deadline, run)


def _convolve(operand: Operand, fields: dict[str, Any], form: str, service: Service) -> Answer:
    options = validated(ConvolveOptions, fields)
    operand = operand.grey() if options.color == "gray" else operand
    mask = _mask(options.mask, 2 if operand.picture else operand.values.ndim, service)
    with in_json():
        convolution = _planned(operand, mask, options, service.settings)

    def bands() -> render.Bands:
        with in_json():
            yield from convolution.bands()

    headers: dict[str, str] = {"X-Method": convolution.method}
    if form == media_types.PNG:
        content, _, clipped = _png(operand, convolution.shape, bands, options.display)
        return content, form, headers | clipped
    if form == media_types.NPY:
        file, data = npy.empty(convolution.shape, convolution.dtype, service.settings.max_answer)
        for rows, values in bands():
            data[rows] = values
        return file, form, headers
    document: dict[str, object] = {
        "output": None,
        "shape": convolution.shape,
        "applied": {
            "operation": options.operation,
            "mask": convolution.weights,
            "padding": [(axis.before, axis.after) for axis in convolution.axes],
            "boundary": options.boundary,
            "stride": [axis.stride for axis in convolution.axes],
            "dilation": [axis.dilation for axis in convolution.axes],
            "method": convolution.method,
        },
    }
    channels = math.prod(convolution.shape[convolution.weights.ndim :])
    traced = 3 * convolution.weights.size * channels if options.trace else 0  # window, mask and products
    _refuse_long_json(math.prod(convolution.shape) + traced, service.settings)
    if options.trace:
        with in_json():
            traces = convolution.trace(options.trace.at)
        document["trace"] = traces if len(traces) > 1 else traces[0]
    with in_json():
        document["output"] = convolution.rows()
    return json.encode(document), form, headers


def _planned(operand: Operand, mask: NDArray[np.float64], options: ConvolveOptions, settings: Settings) -> Convolution:
    return Convolution(
        operand.values,
        mask,
        operation=options.operation,
        padding=options.padding,
        boundary=options.boundary,
        fill_value=options.fill_value,
        stride=options.stride,
        dilation=options.dilation,
        normalize=options.normalize,
        absent=operand.absent,
        missing=options.missing,
        activation=options.activation,
        max_elements=settings.max_elements,
        max_multiply_adds=settings.max_multiply_adds,
    )


def _pool(operand: Operand, fields: dict[str, Any], form: str, service: Service) -> Answer:
    options = validated(PoolOptions, fields)
    operand = operand.grey() if options.color == "gray" else operand
    values = operand.values
    if operand.absent is not None:
        values = np.where(operand.absent, np.nan, values)
    axes = 2 if operand.picture else values.ndim
    with in_json():
        pools = pooling.plan(values.shape[:axes], options.size, options.stride, options.padding)
    shape = (*(p.outputs for p in pools), *values.shape[axes:])
    if form == media_types.JSON:
        _refuse_long_json(math.prod(shape), service.settings)
    with in_json():
        output = pooling.pool(values, options.kind, pools, service.settings.max_multiply_adds)
    if form == media_types.PNG:
        return _png(operand, shape, lambda: iter([(slice(None), output)]), options.display)
    if form == media_types.NPY:
        file, data = npy.empty(output.shape, output.dtype, service.settings.max_answer)
        data[:] = output
        return file, form, {}
    applied = {
        "kind": options.kind,
        "size": [p.size for p in pools],
        "stride": [p.stride for p in pools],
        "padding": [(p.before, p.after) for p in pools],
    }
    return json.encode({"output": output, "shape": shape, "applied": applied}), form, {}


def _mask(mask: list[Any] | str | LearnedKernel, rank: int, service: Service) -> NDArray[np.float64]:
    """The mask's values, whichever way it was given. Raises NotFound and InvalidInput."""
    if isinstance(mask, str):
        if mask not in MASKS:
            detail = f"no mask is called {mask!r:.80}; expected one of {', '.join(MASKS)}, or a nested array"
            raise NotFound.about("/mask", detail)
        values: NDArray[Any] = MASKS[mask].values
    elif isinstance(mask, LearnedKernel):
        values = _learned(mask, service)
    else:
        given = operands.nested(mask, "/mask")
        if given.absent is not None:
            first = np.argwhere(given.absent)[0].tolist()
            raise InvalidInput.about("/mask", f"element {first} of the mask is null; expected a number")
        values = given.values
    if values.ndim != rank:
        raise InvalidInput.about("/mask", f"the mask has {values.ndim} dimensions; expected {rank}, as the input has")
    return values


def _learned(kernel: LearnedKernel, service: Service) -> NDArray[np.float64]:
    try:
        kernels = service.network(kernel.model).kernel(kernel.layer)
    except NotFound as error:
        raise NotFound(error.detail, [FieldError(f"/mask/{e.field}", e.detail) for e in error.errors]) from None
    for name, index, count in (
        ("filter", kernel.filter, kernels.shape[3]),
        ("channel", kernel.channel, kernels.shape[2]),
    ):
        if index >= count:
            raise InvalidInput.about(
                f"/mask/{name}", f"{name} is {index}; expected 0 to {count - 1}, as {kernel.layer} has"
            )
    return kernels[:, :, kernel.channel, kernel.filter].astype(np.float64)


def _png(
    operand: Operand, shape: tuple[int, ...], bands: Callable[[], render.Bands], display: render.Display
) -> Answer:
    """The values as a picture, and the header that counts the pixels which did not fit. Raises InvalidInput."""
    if operand.values.ndim == 3 and not operand.picture:
        raise InvalidInput.about(
            "Accept", f"the answer has the shape {list(shape)}; expected at most 2 dimensions for a PNG"
        )
    if len(shape) == 1:
        line = np.concatenate([values for _, values in bands()])
        shape, bands = (1, *shape), lambda: iter([(slice(None), line[None])])
    picture, clipped = render.display(shape, bands, display)
    return render.png(picture), media_types.PNG, {"X-Clipped-Pixels": str(clipped)}


def _refuse_long_json(count: int, settings: Settings) -> None:
    json.reject_long(count, settings.max_json_values, f"Accept: {media_types.NPY} or {media_types.PNG} allows more")
