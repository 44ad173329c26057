"""TensorFlow Serving's REST API, and the V1 protocol of KServe that is built on it.

Specification: https://www.tensorflow.org/tfx/serving/api_rest. Versions are the artifacts' own; of labels of versions
there is one, `stable`, which the version has that a network's name alone stands for.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.deadline import Checkpoint
from app.errors import InvalidInput, NotFound
from app.inference.metadata import Input, Metadata
from app.inference.network import Network
from app.inference.prediction import Scores
from app.inference.registry import Registry
from app.routes.protocols.classify import Classified, classify, served
from app.settings import Settings
from app.wire import infer, instances, json
from app.wire.pictures import Pictures

router = APIRouter(prefix="/v1", include_in_schema=False)

LABEL = "stable"
SIGNATURE = "serving_default"
"""The one name of the one signature."""


@router.get("/models")
async def models(request: Request) -> dict[str, list[str]]:
    return {"models": request.app.state.service.registry.names}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
@router.get("/models/{name}/labels/{label}")
async def status(request: Request, name: str, version: str | None = None, label: str = LABEL) -> dict[str, object]:
    """The state of the one version, or of every version, and `ready`, which KServe's client reads."""
    metadata = _served(request, name, version, label).metadata
    registry: Registry = request.app.state.service.registry
    shown = [metadata.version] if version or "label" in request.path_params else registry.versions_of(metadata.name)
    state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"name": name, "ready": True, "model_version_status": [{"version": found, **state} for found in shown]}


@router.get("/models/{name}/metadata")
@router.get("/models/{name}/versions/{version}/metadata")
@router.get("/models/{name}/labels/{label}/metadata")
async def metadata(request: Request, name: str, version: str | None = None, label: str = LABEL) -> dict[str, object]:
    """The signature of `:predict`, as TensorFlow Serving describes it."""
    found = _served(request, name, version, label).metadata
    picture = _tensor("DT_UINT8", [-1, *infer.image_shape(found)], "image")
    probabilities = _tensor("DT_FLOAT", [-1, len(found.labels)], "probabilities")
    signature = {
        "inputs": {"image": picture},
        "outputs": {"probabilities": probabilities},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": found.name, "signature_name": "", "version": found.version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


@router.post("/models/{name}:predict")
@router.post("/models/{name}/versions/{version}:predict")
@router.post("/models/{name}/labels/{label}:predict")
async def predict(request: Request, name: str, version: str | None = None, label: str = LABEL) -> Response:
    """Calibrated probabilities, in the labels' order: `predictions` for `instances`, and `outputs` for `inputs`."""
    network = _served(request, name, version, label)
    done = await classify(request, network, partial(_read_predict, network.metadata.input))
    return _answer(done, {done.asked: [found.probabilities for found in done.scores]})


@router.post("/models/{name}:classify")
@router.post("/models/{name}/versions/{version}:classify")
@router.post("/models/{name}/labels/{label}:classify")
async def classify_examples(request: Request, name: str, version: str | None = None, label: str = LABEL) -> Response:
    """For each example, every label with its calibrated probability, the most probable first."""
    network = _served(request, name, version, label)
    done = await classify(request, network, partial(_read_classify, network.metadata.input))
    return _answer(done, {"results": _ranked(done.scores, network.metadata)})


@router.post("/models/{path:path}:regress")
async def regress(path: str) -> Response:
    raise InvalidInput.about("method", f"{path} has no regression; expected :predict or :classify")


def _served(request: Request, name: str, version: str | None, label: str) -> Network:
    """Raises NotFound."""
    network = served(request, name, version)
    if label != LABEL:
        raise NotFound.about("label", f"no version of {name} has the label {label!r:.80}; expected {LABEL}")
    return network


def _read_predict(input: Input, content: bytes, settings: Settings, checkpoint: Checkpoint) -> tuple[Pictures, str]:
    """The pictures of exactly one of `instances` and `inputs`, and how the answer to it is called."""
    document = json.parse_object(content, "body", settings.max_json_values)
    _check_signature(document)
    if ("instances" in document) == ("inputs" in document):
        detail = (
            f"the body has {', '.join(document) or 'no members':.200}; expected exactly one of instances and inputs"
        )
        raise InvalidInput.about("body", detail)
    if "instances" in document:
        return instances.of_instances(document["instances"], "/instances", input, settings, checkpoint), "predictions"
    return instances.of_inputs(document["inputs"], "/inputs", input, settings, checkpoint), "outputs"


def _read_classify(input: Input, content: bytes, settings: Settings, checkpoint: Checkpoint) -> tuple[Pictures, None]:
    document = json.parse_object(content, "body", settings.max_json_values)
    _check_signature(document)
    return instances.of_instances(document.get("examples"), "/examples", input, settings, checkpoint), None


def _check_signature(document: dict[str, object]) -> None:
    name = document.get("signature_name", SIGNATURE)
    if name not in (SIGNATURE, ""):
        detail = f"signature_name is {json.shown(name)}; expected {SIGNATURE}"
        raise InvalidInput.about("/signature_name", detail)


def _ranked(scores: Sequence[Scores], metadata: Metadata) -> list[list[tuple[str, float]]]:
    return [[(metadata.labels[i], found.probabilities[i]) for i in found.order] for found in scores]


def _answer(done: Classified[Any], document: dict[str, object]) -> Response:
    return Response(orjson.dumps(document), headers=done.headers, media_type="application/json")


def _tensor(dtype: str, shape: Sequence[int], name: str) -> dict[str, object]:
    dimensions = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": name}
