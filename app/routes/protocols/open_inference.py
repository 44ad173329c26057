"""The Open Inference Protocol V2 over REST, as KServe's and Triton's clients speak it, with Triton's extensions.

Specification: https://github.com/kserve/open-inference-protocol, and Triton's `extension_*.md`.
"""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app import __version__, metrics
from app.deadline import Checkpoint
from app.errors import Draining, InvalidInput
from app.inference.metadata import Metadata
from app.routes.protocols.classify import Read, classify, served
from app.routes.service import Service
from app.settings import Settings
from app.wire import infer as asking
from app.wire import tensors
from app.wire.infer import Asked
from app.wire.pictures import Pictures

router = APIRouter(prefix="/v2", include_in_schema=False)

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]


@router.get("")
@router.get("/")
async def server_metadata() -> dict[str, object]:
    return {"name": "convoscope", "version": __version__, "extensions": EXTENSIONS}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    return {"live": True}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    """Raises Draining once the service is stopping."""
    if request.app.state.in_flight.draining:
        raise Draining("the service is stopping and takes no new work")
    return {"ready": True}


@router.get("/models")
async def models(request: Request) -> dict[str, list[str]]:
    return {"models": list(request.app.state.service.networks)}


@router.get("/models/stats")
@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{version}/stats")
async def statistics(request: Request, name: str | None = None, version: str | None = None) -> dict[str, object]:
    """What the networks have computed since the start. Nanoseconds are of whole batches."""
    service: Service = request.app.state.service
    networks = list(service.networks.values()) if name is None else [served(request, name, version)]
    return {"model_stats": [_statistics(network.metadata) for network in networks]}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model_metadata(request: Request, name: str, version: str | None = None) -> dict[str, object]:
    metadata = served(request, name, version).metadata
    return {
        "name": metadata.name,
        "versions": [metadata.version],
        "platform": "openvino",
        "inputs": [{"name": asking.IMAGE, "datatype": "UINT8", "shape": [-1, *asking.image_shape(metadata)]}],
        "outputs": [
            {"name": name, "datatype": kind.datatype, "shape": [-1, *kind.shape(metadata)]}
            for name, kind in asking.KINDS.items()
        ],
    }


@router.get("/models/{name}/config")
@router.get("/models/{name}/versions/{version}/config")
async def configuration(request: Request, name: str, version: str | None = None) -> dict[str, object]:
    """Triton's form of the metadata: shapes without the batch, and the labels."""
    metadata = served(request, name, version).metadata
    types = {"FP32": "TYPE_FP32", "BYTES": "TYPE_STRING"}
    picture = {
        "name": asking.IMAGE,
        "data_type": "TYPE_UINT8",
        "format": "FORMAT_NHWC",
        "dims": asking.image_shape(metadata),
    }
    return {
        "name": metadata.name,
        "platform": "openvino",
        "backend": "openvino",
        "max_batch_size": request.app.state.service.settings.max_pictures,
        "input": [picture],
        "output": [
            {"name": name, "data_type": types[kind.datatype], "dims": kind.shape(metadata)}
            for name, kind in asking.KINDS.items()
        ],
        "parameters": {"labels": {"string_value": ",".join(metadata.labels)}},
    }


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, object]:
    """Whatever is served can be asked at once; what is not compiled yet is when it is first asked."""
    return {"name": served(request, name, version).metadata.name, "ready": True}


@router.post("/repository/index")
async def repository(request: Request) -> list[dict[str, str]]:
    found = [network.metadata for network in request.app.state.service.networks.values()]
    return [{"name": m.name, "version": m.version, "state": "READY", "reason": ""} for m in found]


@router.post("/repository/models/{name}/load")
async def load(request: Request, name: str) -> Response:
    """Compiles the network now instead of at its first request."""
    await served(request, name).prepare()
    return Response(b"", media_type="application/json")


@router.post("/repository/models/{name}/unload")
async def unload(request: Request, name: str) -> Response:
    served(request, name)
    detail = "this service unloads no model on request; expected its folder under models/ to be removed"
    raise InvalidInput.about("name", f"{name} stays loaded: {detail}")


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Classify the pictures in the one input tensor. Raises what `classify` and `wire.tensors` raise."""
    network = served(request, name, version)
    metadata = network.metadata
    done = await classify(request, network, _reader(request.headers.get(tensors.HEADER), metadata))
    asked, headers = done.asked, done.headers
    found = [asking.tensor(output, done.scores, metadata, asked.top_k) for output in asked.outputs]
    head = {"model_name": metadata.name, "model_version": metadata.version}
    if asked.id is not None:
        head["id"] = asked.id
    content, length = tensors.answer(head, found, [output.binary for output in asked.outputs])
    if length is None:
        return Response(content, headers=headers, media_type="application/json")
    headers[tensors.HEADER] = str(length)
    return Response(content, headers=headers, media_type="application/octet-stream")


def _reader(head_length: str | None, metadata: Metadata) -> Read[Asked]:
    def read(content: bytes, settings: Settings, checkpoint: Checkpoint) -> tuple[Pictures, Asked]:
        head, rest = tensors.split(content, head_length, settings.max_json_values)
        wanted = asking.asked(head, metadata)
        return tensors.pictures(head, rest, settings, checkpoint), wanted

    return read


def _statistics(metadata: Metadata) -> dict[str, Any]:
    pictures, batches, seconds = metrics.computed(metadata.name)
    return {
        "name": metadata.name,
        "version": metadata.version,
        "inference_count": pictures,
        "execution_count": batches,
        "inference_stats": {"compute_infer": {"count": batches, "ns": round(seconds * 1e9)}},
    }
