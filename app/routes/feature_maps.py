"""POST /feature-maps: the output of chosen layers for one picture, as numbers or pictures."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.deadline import Checkpoint
from app.errors import TooLarge
from app.imaging import render
from app.inference.metadata import Metadata
from app.interpret import feature_maps, sheets
from app.interpret.sheets import Chosen, Scale
from app.routes.http import ONE_PICTURE, Index, accepted, binary_answers, body_of, problems, timing
from app.routes.service import Service
from app.settings import Settings
from app.wire import json, media_types, pictures
from app.wire.schemas import FeatureMaps

router = APIRouter(tags=["look inside"])

OFFERED = (media_types.JSON, media_types.PNG, media_types.NPZ)


@router.post(
    "/feature-maps",
    response_model=FeatureMaps,
    responses=binary_answers(media_types.PNG, media_types.NPZ) | problems(400, 404, 406, 413, 415, 422, 503, 504),
    openapi_extra=ONE_PICTURE,
)
async def show_feature_maps(
    request: Request,
    model: Annotated[str | None, Query(description="a name from /models; by default the default model")] = None,
    layer: Annotated[
        list[str] | None,
        Query(description="layers by name; by default every convolution, or every layer of a network without"),
    ] = None,
    channels: Annotated[list[Index] | None, Query(description="channels of each layer, from 0; by default all")] = None,
    top: Annotated[int | None, Query(ge=1, description="keep the most active, by mean magnitude")] = None,
    decimals: Annotated[int, Query(ge=0, le=9, description="decimal places of the values in JSON")] = 4,
    scale: Annotated[
        Scale, Query(description="PNG: what shares one colour scale: each `layer`, each `map` by itself, or `all`")
    ] = "layer",
) -> Response:
    """Show what each chosen layer of the network outputs for one picture.

    The picture is sent in any of the ways that /predict takes. `Accept` chooses between JSON, with each map's minimum,
    maximum, mean and share of zeros; a contact sheet as PNG; and `application/x-npz`, with one array (height, width,
    channels) per layer. Values are computed in float32.
    """
    service: Service = request.app.state.service
    network = service.network(model)
    wanted, kind = accepted(request), request.headers.get("content-type", "")
    view = _View(network.metadata, decimals, scale, service.settings)
    service.reject_without_room(request)
    body = await body_of(request, service.settings.max_body)
    deadline = service.deadline()
    received = time.perf_counter()

    def run(checkpoint: Checkpoint) -> Response:
        began = time.perf_counter()
        media_type, layers = media_types.choose(wanted, OFFERED), feature_maps.find(network.metadata, layer or [])
        picture = pictures.one(kind, body, network.metadata.input, service.settings)
        decoded = time.perf_counter()
        checkpoint()
        outputs = network.activations(picture, [found.name for found in layers])
        inferred = time.perf_counter()
        chosen = feature_maps.choose(layers, outputs, channels or [], top)
        content = view.encoded(media_type, chosen, checkpoint)
        durations = {"queue": began - received, "decode": decoded - began, "infer": inferred - decoded}
        steps = timing(**durations, encode=time.perf_counter() - inferred)
        return Response(content, headers={"Server-Timing": steps}, media_type=media_type)

    return await service.compute(request, deadline, run)


@dataclass(frozen=True, slots=True)
class _View:
    """How the chosen maps of a network are shown."""

    metadata: Metadata
    decimals: int
    scale: Scale
    settings: Settings

    def encoded(self, media_type: str, chosen: Sequence[Chosen], checkpoint: Checkpoint) -> bytes:
        """The maps in that media type. Raises TooLarge for too many values in JSON."""
        checkpoint()
        if media_type == media_types.NPZ:
            file = io.BytesIO()
            arrays: dict[str, Any] = {one.layer.name: one.shown for one in chosen}
            np.savez(file, **arrays)
            return file.getvalue()
        if media_type == media_types.PNG:
            self._reject_large_sheet(chosen)
            shared = "one colour scale" if self.scale == "all" else f"one colour scale for each {self.scale}"
            heading = f"{self.metadata.name}: {shared}"
            return render.png(render.sheet(heading, sheets.sections(chosen, self.scale)), checkpoint)
        count = sum(one.output[..., 0].size * len(one.indices) for one in chosen)
        advice = f"ask for fewer with layer, channels or top, or send Accept: {media_types.NPZ}"
        json.reject_long(count, self.settings.max_json_values, advice)
        return json.encode(document(self.metadata, chosen, self.decimals))

    def _reject_large_sheet(self, chosen: Sequence[Chosen]) -> None:
        values = sum(one.output[..., 0].size * len(one.indices) for one in chosen)
        if values > self.settings.max_pixels:
            advice = "ask for fewer with layer, channels or top"
            detail = f"the maps have {values} values; expected at most {self.settings.max_pixels} in a PNG: {advice}"
            raise TooLarge.about("layer", detail)


def document(metadata: Metadata, chosen: Sequence[Chosen], decimals: int) -> dict[str, object]:
    """A `schemas.FeatureMaps`."""
    layers = [
        {
            "name": one.layer.name,
            "kind": one.layer.kind,
            "shape": one.layer.output_shape,
            "maps": feature_maps.described(one.output, one.indices, decimals),
        }
        for one in chosen
    ]
    return {"model": metadata.name, "version": metadata.version, "layers": layers}
