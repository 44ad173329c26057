"""Triton's extensions of the Open Inference Protocol V2: model configuration, repository and statistics.

Specification: `extension_*.md` in https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app import metrics
from app.errors import InvalidInput
from app.inference.metadata import Metadata
from app.inference.registry import Registry, State
from app.routes.protocols.classify import served
from app.routes.service import Service
from app.wire import infer as asking

router = APIRouter(prefix="/v2", include_in_schema=False)


STATES: dict[State, str] = {
    "ready": "READY",
    "idle": "READY",
    "loading": "LOADING",
    "unavailable": "UNAVAILABLE",
}
"""What Triton calls the states of a version."""


@router.get("/models/stats")
@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{version}/stats")
async def statistics(request: Request, name: str | None = None, version: str | None = None) -> dict[str, object]:
    """What the networks have computed since the start. Nanoseconds are of whole batches."""
    service: Service = request.app.state.service
    networks = service.registry.networks if name is None else [served(request, name, version)]
    return {"model_stats": [_statistics(network.metadata) for network in networks]}


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
            for name, kind in asking.kinds(metadata).items()
        ],
        "parameters": {"labels": {"string_value": ",".join(metadata.labels)}},
    }


@router.post("/repository/index")
async def repository(request: Request) -> list[dict[str, str]]:
    """Every version; what is not compiled yet can be asked at once all the same."""
    registry: Registry = request.app.state.service.registry
    return [
        {"name": found.name, "version": found.version, "state": STATES[found.state], "reason": found.reason or ""}
        for found in registry.versions
    ]


@router.post("/repository/models/{name}/load")
async def load(request: Request, name: str) -> Response:
    """Looks at the network's folder now, and compiles it now instead of at its first request."""
    await request.app.state.service.registry.refresh()
    await served(request, name).prepare()
    return Response(b"", media_type="application/json")


@router.post("/repository/models/{name}/unload")
async def unload(request: Request, name: str) -> Response:
    served(request, name)
    detail = "this service unloads no model on request; expected its folder under models/ to be removed"
    raise InvalidInput.about("name", f"{name} stays loaded: {detail}")


def _statistics(metadata: Metadata) -> dict[str, Any]:
    pictures, batches, seconds = metrics.computed(metadata.name)
    return {
        "name": metadata.name,
        "version": metadata.version,
        "inference_count": pictures,
        "execution_count": batches,
        "inference_stats": {"compute_infer": {"count": batches, "ns": round(seconds * 1e9)}},
    }
