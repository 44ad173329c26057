"""POST /explain: which parts of a picture speak for a label."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from app.deadline import Deadline
from app.errors import InvalidInput
from app.imaging import images, render
from app.inference.metadata import Layer, Metadata
from app.inference.network import Network
from app.inference.prediction import Scores
from app.interpret import attribution
from app.routes.http import ONE_PICTURE, accepted, binary_answers, body_of, has_left, problems, timing
from app.routes.service import Service
from app.wire import json, media_types, pictures
from app.wire.schemas import Explanation

router = APIRouter(tags=["look inside"])

FORMS = (media_types.JSON, media_types.PNG)
MOST_MASKS = 64
LONGEST = 1600
"""Pixels along the longer side of the picture that a map is laid over."""

Picture = NDArray[np.uint8]
Result = TypeVar("Result")


@router.post(
    "/explain",
    response_model=Explanation,
    responses=binary_answers(media_types.PNG) | problems(400, 404, 406, 413, 415, 422, 503, 504),
    openapi_extra=ONE_PICTURE,
)
async def explain(
    request: Request,
    model: Annotated[str | None, Query(description="a name from /models; the default model without it")] = None,
    method: Annotated[Literal["cam", "occlusion"], Query(description="class activation, or hiding patches")] = "cam",
    label: Annotated[str | None, Query(description="the label to explain; the most probable one without it")] = None,
    grid: Annotated[int, Query(ge=1, le=32, description="occlusion: patches along each side")] = 8,
    size: Annotated[int, Query(ge=1, le=32, description="occlusion: a patch's side, in the network's 32 pixels")] = 8,
    opacity: Annotated[float, Query(ge=0, le=1, description="PNG: of the map over the picture")] = 0.5,
) -> Response:
    """A heat map of what in the picture makes the network say a label.

    The picture comes in any of the forms of /predict. `Accept` chooses between JSON and the map laid over the
    picture, in PNG of at most 1600 pixels along its longer side. The network sees the middle of the
    picture (`seen`); outside it the map is 0, and the PNG dark.
    """
    service: Service = request.app.state.service
    network = service.network(model)
    form = media_types.choose(accepted(request), FORMS)
    if method == "occlusion" and grid**2 > service.settings.max_pictures:
        detail = f"grid is {grid}, which makes {grid**2} views; expected at most {service.settings.max_pictures} views"
        raise InvalidInput.about("grid", detail)
    index = None if label is None else _index(network.metadata, label)
    kind = request.headers.get("content-type", "")
    service.reject_without_room(request)
    body = await body_of(request, service.settings.max_body)
    deadline = service.deadline()
    started = time.perf_counter()
    async with deadline.enforced():
        picture, original = await service.compute(request, deadline, lambda checkpoint: _decoded(kind, body, service))
        decoded = time.perf_counter()
        query = _Query(request, network, service, picture, deadline)
        (scores,) = await query.scores(picture[None])
        whole = scores.probabilities
        index = scores.order[0] if index is None else index
        if method == "occlusion":
            heat, how, patches = await query.occlusion(index, whole[index], grid, size)
        else:
            heat, how, patches = *(await query.class_activation(index)), None
        inferred = time.perf_counter()
        height, width = original.shape[:2]
        heat = attribution.normalized(heat)
        box = images.seen(width, height)
        if form == media_types.PNG:
            content = await service.compute(request, deadline, lambda checkpoint: _overlaid(original, heat, opacity))
        else:
            heat = attribution.over_picture(heat, width, height)
            content = json.encode(
                {
                    "model": network.metadata.name,
                    "version": network.metadata.version,
                    "method": method,
                    "how": how,
                    "label": network.metadata.labels[index],
                    "index": index,
                    "probability": whole[index],
                    "seen": box,
                    "shape": heat.shape,
                    "heatmap": np.round(heat, 4),
                    **({} if patches is None else {"patches": [_placed(patch, size, box) for patch in patches]}),
                }
            )
    steps = timing(decode=decoded - started, infer=inferred - decoded, encode=time.perf_counter() - inferred)
    return Response(content, headers={"Server-Timing": steps}, media_type=form)


class _Query:
    """One picture's questions to one network."""

    def __init__(
        self, request: Request, network: Network, service: Service, picture: Picture, deadline: Deadline
    ) -> None:
        self.request = request
        self.network = network
        self.service = service
        self.picture = picture
        self.deadline = deadline

    async def scores(self, pictures: Picture) -> Sequence[Scores]:
        answer = await self.network.scores(list(pictures), self.deadline, lambda: has_left(self.request.receive))
        return answer.results

    async def compute(self, work: Callable[[], Result]) -> Result:
        return await self.service.compute(self.request, self.deadline, lambda checkpoint: work())

    async def occlusion(
        self, index: int, probability: float, grid: int, size: int
    ) -> tuple[attribution.Map, str, list[dict[str, Any]]]:
        """The map, how it was made, and each patch."""
        corners = attribution.patches(grid, size)
        scores = await self.scores(attribution.occluded(self.picture, corners, size))
        hidden = np.array([one.probabilities[index] for one in scores])
        drops = probability - hidden
        how = (
            f"{grid} x {grid} patches of {size} x {size} of the network's 32 x 32 pixels hidden in turn behind grey; "
            "each pixel has the mean drop in probability of the patches over it"
        )
        patches = [
            {"corner": corner, "probability": p, "drop": drop}
            for corner, p, drop in zip(corners, hidden.tolist(), drops.tolist(), strict=True)
        ]
        return attribution.occlusion(drops, corners, size), how, patches

    async def class_activation(self, index: int) -> tuple[attribution.Map, str]:
        """The map and how it was made: exact where one dense layer follows a pooling of the whole picture."""
        layers = {layer.name: layer for layer in self.network.metadata.layers}
        last, pooled = _ending(layers)
        features = layers[pooled.inputs[0]]
        found = await self.compute(lambda: self.network.activations(self.picture, [features.name]))
        values = found[features.name]
        if last is not None:
            learned = await self.compute(lambda: self.network.weights)  # the first asks the disk
            weights = learned[f"{last.name}/kernel"][:, index].astype(np.float32)
            kind: Literal["max", "average"] = "max" if "max" in pooled.kind else "average"
            shown = "at its largest value" if kind == "max" else "in every place"
            heat = attribution.class_activation(values, weights, kind)
            how = (
                f"exact: the score of the label is the {kind} of each channel of {features.name} times its weight in "
                f"{last.name}, added up, and each channel's share is drawn {shown}"
            )
            return attribution.enlarged(heat, features.receptive_field), how
        field = features.receptive_field
        most = min(MOST_MASKS, self.service.settings.max_pictures)
        order, masks = await self.compute(lambda: attribution.masks(values, field, most))
        if not len(order):
            return np.zeros(masks.shape[1:]), "no channel differs from place to place, so nothing speaks for the label"
        scores = await self.scores(attribution.masked(self.picture, masks))
        logits = np.array([one.logits[index] for one in scores])
        heat = attribution.score_activation(values[..., order], logits)
        how = (
            f"not exact, because {pooled.name} does not pool the whole picture: Score-CAM, the channels of "
            f"{features.name} weighed by the label's score when the picture is shown through each of them"
        )
        return attribution.enlarged(heat, field), how


def _ending(layers: dict[str, Layer]) -> tuple[Layer | None, Layer]:
    """The dense layer that follows a global pooling, None where there is none, and the layer that ends the maps."""
    pooled = next(entry for entry in layers.values() if len(entry.input_shapes[0]) > len(entry.output_shape))
    following = [layer for layer in layers.values() if layer.inputs == [pooled.name]]
    dense = [layer for layer in layers.values() if layer.kind == "dense"]
    exact = pooled.kind.startswith("global") and following == dense
    return (dense[0] if exact else None), pooled


def _index(metadata: Metadata, label: str) -> int:
    if label not in metadata.labels:
        detail = f"label is {label!r:.80}; expected one of {', '.join(metadata.labels)}"
        raise InvalidInput.about("label", detail)
    return metadata.labels.index(label)


def _decoded(kind: str, body: bytes, service: Service) -> tuple[Picture, Picture]:
    """The picture as the network receives it, exactly as for /predict, and in all its pixels."""
    return pictures.one(kind, body, service.settings), pictures.original(kind, body, service.settings)


def _overlaid(original: Picture, heat: attribution.Map, opacity: float) -> bytes:
    original = render.reduced(original, LONGEST)
    height, width = original.shape[:2]
    left, top, right, bottom = images.seen(width, height)
    box = round(left * width), round(top * height), round(right * width), round(bottom * height)
    return render.png(render.overlay(original, heat, box, opacity))


def _placed(patch: dict[str, Any], size: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    """A patch with its place as shares of the whole picture."""
    left, top, right, bottom = box
    (row, column) = patch.pop("corner")
    across, down = (right - left) / attribution.SIDE, (bottom - top) / attribution.SIDE
    place = [left + column * across, top + row * down, left + (column + size) * across, top + (row + size) * down]
    return {"box": place, **patch}
