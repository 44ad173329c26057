"""GET /models: what is served, layer by layer, and the kernels it has learned."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.deadline import Checkpoint
from app.errors import NotFound
from app.imaging import render
from app.inference.network import Network
from app.interpret import kernels, layers
from app.interpret.kernels import Selection
from app.routes.http import Index, accepted, binary_answers, problems
from app.routes.service import Service
from app.wire import json, media_types
from app.wire.schemas import ExplainedLayer, Kernels, Model, Models, ModelSummary, ModelVersion

router = APIRouter(tags=["models"])

SHOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".md": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
}
"""The files of an artifact that are sent, by suffix, and as what."""

HARMLESS = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
"""Whatever somebody put into an artifact, a browser does no more than show it."""


@router.get("/models", responses=problems(422))
async def list_models(request: Request) -> Models:
    """List every network that is served, with its accuracy and cost."""
    service: Service = request.app.state.service
    registry = service.registry
    models = [ModelSummary(**_summary(network, service)) for network in registry.networks]
    versions = [ModelVersion(**version._asdict()) for version in registry.versions]
    return Models(models=models, versions=versions, unavailable=registry.unavailable)


@router.get("/models/{name}", responses=problems(404, 422))
async def show_model(request: Request, name: str) -> Model:
    """Describe one network: its layers, its measured accuracy and calibration, and how it was trained."""
    service: Service = request.app.state.service
    network = service.network(name)
    metadata = network.metadata
    return Model(
        **_summary(network, service),
        labels=metadata.labels,
        input=metadata.input,
        preprocessing=metadata.preprocessing,
        layers=[
            ExplainedLayer(**layer.model_dump(), explanation=layers.explanation(layer)) for layer in metadata.layers
        ],
        measured=metadata.accuracy,
        calibration=metadata.calibration,
        out_of_distribution=metadata.out_of_distribution,
        training=metadata.training,
        data=metadata.data,
        source=metadata.source,
        examples=metadata.examples,
        mislabelled=metadata.mislabelled,
        units=metadata.units,
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
    filter: Annotated[list[Index] | None, Query(description="which filters, from 0; by default all")] = None,
    channel: Annotated[list[Index] | None, Query(description="which input channels, from 0; by default all")] = None,
) -> Response:
    """Show the kernels that a layer has learned, as JSON or, as `Accept` chooses, on a contact sheet in PNG.

    Each kernel is one channel of one filter. It can be the mask of /convolve, with the operation `correlation`. A dense
    layer has kernels of 1 x 1: a channel is one of its inputs, a filter one of its outputs.
    """
    service: Service = request.app.state.service
    network = service.network(name)
    media_type = media_types.choose(accepted(request), (media_types.JSON, media_types.PNG))
    most = service.settings.max_json_values

    def run(checkpoint: Checkpoint) -> Response:
        selection = kernels.select(network.kernel(layer), layer, filter or [], channel or [])
        json.reject_long(selection.size, most, "ask for fewer with filter or channel")
        checkpoint()
        if media_type == media_types.JSON:
            return Response(json.encode(_document(network, selection)), media_type=media_type)
        sheet = render.sheet("filter, channel: one colour scale for all", [kernels.section(selection)])
        return Response(render.png(sheet, checkpoint), media_type=media_type)

    return await service.compute(request, service.deadline(), run)


@router.get(
    "/models/{name}/files/{file:path}",
    response_class=Response,
    responses=binary_answers(*SHOWN.values()) | problems(404, 422, 503, 504),
)
async def show_file(request: Request, name: str, file: str) -> Response:
    """Send a file of a network's artifact that is meant for people: an example, a plot, the model card, the history.

    `files` of /models/{name} lists them.
    """
    service: Service = request.app.state.service
    network = service.network(name)
    media_type = SHOWN.get(Path(file).suffix)
    if media_type is None:
        raise NotFound.about("file", f"file is {file!r:.80}; expected a name that ends in {', '.join(SHOWN)}")
    content = await service.compute(request, service.deadline(), lambda checkpoint: network.file(file))
    return Response(content, media_type=media_type, headers=HARMLESS)


def _document(network: Network, selection: Selection) -> dict[str, object]:
    """A `schemas.Kernels`."""
    (found,) = layers.find(network.metadata, [selection.layer])
    return {
        "model": network.metadata.name,
        "version": network.metadata.version,
        "layer": found.name,
        "shape": selection.learned.shape,
        "stride": found.stride,
        "padding": found.padding,
        "bias": network.weights.get(f"{found.name}/bias"),
        "kernels": [
            {"filter": f, "channel": c, "values": values}
            for (f, c), values in zip(selection.pairs, selection.values, strict=True)
        ],
    }


def _summary(network: Network, service: Service) -> dict[str, object]:
    metadata = network.metadata
    return {
        "name": metadata.name,
        "version": metadata.version,
        "default": service.registry.is_default(network),
        "precision": network.precision,
        "label_count": len(metadata.labels),
        "accuracy": metadata.accuracy.test,
        "parameters": metadata.parameters,
        "multiply_adds": metadata.multiply_adds,
    }
