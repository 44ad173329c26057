"""POST /feature-maps: what chosen layers saw in one picture, as numbers or pictures."""

import io
import time
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from app.deadline import Checkpoint
from app.imaging import render
from app.imaging.render import Section
from app.inference.metadata import Layer, Metadata
from app.interpret import feature_maps
from app.interpret import layers as architecture
from app.routes.http import ONE_PICTURE, accepted, binary_answers, body_of, problems, timing
from app.routes.service import Service
from app.wire import json, media_types, pictures
from app.wire.schemas import FeatureMaps

router = APIRouter(tags=["look inside"])

FORMS = (media_types.JSON, media_types.PNG, media_types.NPZ)
Chosen = list[tuple[Layer, NDArray[np.float32], list[int]]]
"""Layers, their outputs, and the channels asked for."""


@router.post(
    "/feature-maps",
    response_model=FeatureMaps,
    responses=binary_answers(media_types.PNG, media_types.NPZ) | problems(400, 404, 406, 413, 415, 422, 503, 504),
    openapi_extra=ONE_PICTURE,
)
async def show_feature_maps(
    request: Request,
    model: Annotated[str | None, Query(description="a name from /models; the default model without it")] = None,
    layer: Annotated[list[str] | None, Query(description="layers by name; every convolution without it")] = None,
    channels: Annotated[list[int] | None, Query(description="channels of each layer, from 0; all without it")] = None,
    top: Annotated[int | None, Query(ge=1, description="of these, the most active: greatest mean magnitude")] = None,
    decimals: Annotated[int, Query(ge=0, le=9, description="places that the values in JSON are rounded to")] = 4,
    scale: Annotated[
        Literal["layer", "map", "all"],
        Query(description="what shares one colour scale in a PNG: a layer, a map, or all"),
    ] = "layer",
) -> Response:
    """What each chosen layer of the network puts out for one picture.

    The picture comes in any of the forms of /predict. `Accept` chooses between JSON, with each map's minimum, maximum,
    mean and share of zeros; a contact sheet in PNG; and `application/x-npz`, one array a layer, (height, width,
    channels). Values are computed in float32.
    """
    service: Service = request.app.state.service
    network = service.network(model)
    wanted = accepted(request)
    kind = request.headers.get("content-type", "")
    service.reject_without_room(request)
    body = await body_of(request, service.settings.max_body)
    deadline = service.deadline()
    received = time.perf_counter()

    def run(checkpoint: Checkpoint) -> Response:
        began = time.perf_counter()
        form = media_types.choose(wanted, FORMS)
        names = layer or [entry.name for entry in network.metadata.layers if entry.kind == "convolution"]
        layers = architecture.find(network.metadata, list(dict.fromkeys(names)))
        picture = pictures.one(kind, body, service.settings)
        decoded = time.perf_counter()
        outputs = network.activations(picture, [entry.name for entry in layers])
        inferred = time.perf_counter()
        chosen = [
            (entry, outputs[entry.name], feature_maps.select(outputs[entry.name], entry.name, channels or [], top))
            for entry in layers
        ]
        content = _encoded(network.metadata, chosen, form, decimals, scale, service.settings.max_json_values)
        steps = timing(
            queue=began - received,
            decode=decoded - began,
            infer=inferred - decoded,
            encode=time.perf_counter() - inferred,
        )
        return Response(content, headers={"Server-Timing": steps}, media_type=form)

    return await service.compute(request, deadline, run)


def _encoded(metadata: Metadata, chosen: Chosen, form: str, decimals: int, scale: str, most_values: int) -> bytes:
    if form == media_types.NPZ:
        file = io.BytesIO()
        found: dict[str, Any] = {entry.name: output[..., indices] for entry, output, indices in chosen}
        np.savez(file, **found)
        return file.getvalue()
    if form == media_types.PNG:
        shared = "one colour scale" if scale == "all" else f"one colour scale for each {scale}"
        heading = f"{metadata.name}: {shared}"
        return render.png(render.sheet(heading, _sections(chosen, scale)))
    count = sum(output[..., 0].size * len(indices) for _, output, indices in chosen)
    advice = f"ask for fewer with layer, channels or top, or with Accept: {media_types.NPZ}"
    json.reject_long(count, most_values, advice)
    return json.encode(
        {
            "model": metadata.name,
            "version": metadata.version,
            "layers": [
                {
                    "name": entry.name,
                    "kind": entry.kind,
                    "shape": entry.output_shape,
                    "maps": feature_maps.described(output, indices, decimals),
                }
                for entry, output, indices in chosen
            ],
        }
    )


def _sections(chosen: Chosen, scale: str) -> list[Section]:
    """A section a layer; a list of features becomes one map of rows of 64."""
    outputs = [output[..., indices] for _, output, indices in chosen]
    whole = (min(float(o.min()) for o in outputs), max(float(o.max()) for o in outputs))
    sections = []
    for (entry, _, indices), output in zip(chosen, outputs, strict=True):
        extremes = (float(output.min()), float(output.max()))
        if output.ndim == 1:
            strip = np.full(-(-output.size // 64) * 64 if output.size > 64 else output.size, extremes[0], np.float32)
            strip[: output.size] = output
            maps, captions = [strip.reshape(-1, min(64, strip.size))], [f"{output.size} features"]
        else:
            maps, captions = list(output.transpose(2, 0, 1)), [str(index) for index in indices]
        own = [(float(m.min()), float(m.max())) for m in maps]
        if scale == "map":
            captions = [f"{caption}: {low:.2g}..{high:.2g}" for caption, (low, high) in zip(captions, own, strict=True)]
        scales = {"map": own, "layer": [extremes] * len(maps), "all": [whole] * len(maps)}[scale]
        size = " x ".join(map(str, entry.output_shape))
        low, high = whole if scale == "all" else extremes
        title = f"{entry.name}  ({entry.kind}, {size})  {low:.3g} to {high:.3g}"
        sections.append(Section(title, captions, maps, scales))
    return sections
