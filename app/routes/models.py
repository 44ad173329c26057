"""GET /models: what is served, layer by layer, and the kernels it has learned."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from app.deadline import Checkpoint
from app.errors import InvalidInput, TooLarge
from app.imaging import render
from app.inference.network import Network
from app.interpret import layers
from app.routes.http import accepted, binary_answers, problems
from app.routes.service import Service
from app.wire import json, media_types
from app.wire.schemas import ExplainedLayer, Kernels, Model, Models, ModelSummary

router = APIRouter(tags=["models"])

MOST_TILES = 4096


@router.get("/models", responses=problems(422))
async def list_models(request: Request) -> Models:
    """Every network that is served, with its accuracy and cost."""
    service: Service = request.app.state.service
    return Models(models=[ModelSummary(**_summary(network, service)) for network in service.networks.values()])


@router.get("/models/{name}", responses=problems(404, 422))
async def show_model(request: Request, name: str) -> Model:
    """One network: its layers, its measured accuracy and calibration, how it was trained."""
    service: Service = request.app.state.service
    network = service.network(name)
    metadata = network.metadata
    return Model(
        **_summary(network, service),
        labels=metadata.labels,
        layers=[
            ExplainedLayer(**layer.model_dump(), explanation=layers.explanation(layer)) for layer in metadata.layers
        ],
        measured=metadata.accuracy,
        calibration=metadata.calibration,
        training=metadata.training,
        files=metadata.files,
    )


@router.get(
    "/models/{name}/layers/{layer}/kernels",
    response_model=Kernels,
    responses=binary_answers(media_types.PNG) | problems(404, 406, 413, 422, 503, 504),
)
async def show_kernels(
    request: Request,
    name: str,
    layer: str,
    filter: Annotated[list[int] | None, Query(description="which filters, from 0; all without it")] = None,
    channel: Annotated[list[int] | None, Query(description="which input channels, from 0; all without it")] = None,
) -> Response:
    """The kernels a convolution has learned, as JSON or, by `Accept`, as a sheet in PNG.

    Each is one channel of one filter, and can be used as a mask of /convolve, under operation `correlation`.
    """
    service: Service = request.app.state.service
    network = service.network(name)
    form = media_types.choose(accepted(request), (media_types.JSON, media_types.PNG))

    def run(checkpoint: Checkpoint) -> Response:
        kernel = network.kernel(layer)
        chosen = [
            (f, c)
            for f in _chosen("filter", filter, kernel.shape[3], layer)
            for c in _chosen("channel", channel, kernel.shape[2], layer)
        ]
        rows, columns = kernel.shape[:2]
        advice = "ask for fewer with filter or channel"
        json.reject_long(len(chosen) * rows * columns, service.settings.max_json_values, advice)
        values = np.stack([kernel[:, :, c, f] for f, c in chosen]).astype(np.float32)
        if form == media_types.PNG:
            return Response(_sheet(layer, kernel.shape, chosen, values), media_type=form)
        (entry,) = layers.find(network.metadata, [layer])
        document = {
            "model": network.metadata.name,
            "version": network.metadata.version,
            "layer": layer,
            "shape": kernel.shape,
            "stride": entry.stride,
            "padding": entry.padding,
            "bias": network.weights.get(f"{layer}/bias"),
            "kernels": [{"filter": f, "channel": c, "values": v} for (f, c), v in zip(chosen, values, strict=True)],
        }
        return Response(json.encode(document), media_type=form)

    return await service.compute(request, service.deadline(), run)


def _chosen(field: str, wanted: list[int] | None, count: int, layer: str) -> list[int]:
    """The indices asked for, all without any. Raises InvalidInput for one that is none."""
    if wrong := [index for index in wanted or [] if not 0 <= index < count]:
        detail = f"{field} is {wrong[0]}; expected 0 to {count - 1}, as {layer} has"
        raise InvalidInput.about(field, detail)
    return list(dict.fromkeys(wanted or range(count)))


def _sheet(layer: str, shape: tuple[int, ...], chosen: list[tuple[int, int]], values: NDArray[np.float32]) -> bytes:
    """Kernels under one colour scale, each captioned with its filter and channel."""
    if len(chosen) > MOST_TILES:
        detail = (
            f"{len(chosen)} kernels in one picture; expected at most {MOST_TILES}; ask for fewer with filter or channel"
        )
        raise TooLarge.about("filter", detail)
    low, high = float(values.min()), float(values.max())
    title = f"{layer}  ({' x '.join(map(str, shape))})  {low:.3g} to {high:.3g}"
    captions = [f"{f}, {c}" for f, c in chosen]
    section = render.Section(title, captions, list(values), [(low, high)] * len(chosen))
    return render.png(render.sheet("filter, channel: one colour scale for all", [section]))


def _summary(network: Network, service: Service) -> dict[str, object]:
    metadata = network.metadata
    return {
        "name": metadata.name,
        "version": metadata.version,
        "default": metadata.name == service.catalog.default,
        "precision": network.precision,
        "accuracy": metadata.accuracy.test,
        "parameters": metadata.parameters,
        "multiply_adds": metadata.multiply_adds,
    }
