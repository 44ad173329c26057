"""Hugging Face's inference API for image classification, as `huggingface_hub.InferenceClient` speaks it.

Specification: https://huggingface.co/docs/inference-providers/tasks/image-classification
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.deadline import Checkpoint
from app.errors import InvalidInput
from app.inference.metadata import Metadata
from app.inference.prediction import Scores
from app.routes.protocols.classify import Read, classify, served
from app.settings import Settings
from app.wire import instances, json, options, pictures
from app.wire.pictures import Pictures

router = APIRouter(include_in_schema=False)

DEFAULT_TOP_K = 5
FUNCTIONS: dict[str, Callable[[Scores], list[float]]] = {
    "softmax": lambda scores: scores.probabilities,
    "sigmoid": lambda scores: [(1 + math.tanh(logit / 2)) / 2 for logit in scores.logits.tolist()],
    "none": lambda scores: scores.logits.tolist(),
}
"""What `function_to_apply` makes of a picture's logits; `softmax` is calibrated."""


class Asked(NamedTuple):
    """The parameters of a request."""

    top_k: int
    function: str


@router.post("/models/{name}")
async def image_classification(request: Request, name: str) -> Response:
    """The most probable labels of one picture, best first."""
    network = served(request, name)
    done = await classify(request, network, _reader(request.headers.get("content-type", ""), network.metadata))
    (scores,) = done.scores
    values, labels = FUNCTIONS[done.asked.function](scores), network.metadata.labels
    found = [{"label": labels[i], "score": values[i]} for i in scores.order[: done.asked.top_k]]
    return Response(orjson.dumps(found), headers=done.headers, media_type="application/json")


def _reader(content_type: str, metadata: Metadata) -> Read[Asked]:
    most = len(metadata.labels)

    def read(content: bytes, settings: Settings, checkpoint: Checkpoint) -> tuple[Pictures, Asked]:
        if not instances.is_json(content_type, content):
            return [pictures.one(content_type, content, metadata.input, settings)], _asked(None, most)
        document = json.parse_object(content, "body", settings.max_json_values)
        asked = _asked(document.get("parameters"), most)
        files = instances.decoded_all([("/inputs", document.get("inputs"))])
        return pictures.of_files(files, metadata.input, settings, checkpoint), asked

    return read


def _asked(parameters: object, most: int) -> Asked:
    """Raises InvalidInput."""
    if not isinstance(parameters, dict | None):
        raise InvalidInput.about("/parameters", f"parameters is {json.shown(parameters)}; expected an object")
    parameters = parameters or {}
    top_k = options.top_k(parameters.get("top_k"), "/parameters/top_k", most, DEFAULT_TOP_K)
    function = parameters.get("function_to_apply") or "softmax"
    if not isinstance(function, str) or function not in FUNCTIONS:
        detail = f"function_to_apply is {json.shown(function)}; expected {', '.join(FUNCTIONS)}"
        raise InvalidInput.about("/parameters/function_to_apply", detail)
    return Asked(top_k, function)
