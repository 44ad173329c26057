"""The Open Inference Protocol V2 over REST, as KServe's and Triton's clients speak it.

Specification: https://github.com/kserve/open-inference-protocol. Triton's extensions of it are in `triton.py`, but for
binary tensors and classification, which are in `wire.tensors` and `wire.infer`.
"""

import re

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app import __version__
from app.deadline import Checkpoint
from app.errors import Draining
from app.inference.metadata import Metadata
from app.routes.http import header, path_of
from app.routes.protocols.classify import Read, classify, served
from app.settings import Settings
from app.wire import infer as asking
from app.wire import tensors
from app.wire.infer import Asked
from app.wire.pictures import Pictures

router = APIRouter(prefix="/v2", include_in_schema=False)

PATH = "/v2/models/{name}/infer"
INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
HEADER = tensors.HEADER.lower().encode()
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
    return {"models": request.app.state.service.registry.names}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model_metadata(request: Request, name: str, version: str | None = None) -> dict[str, object]:
    metadata = served(request, name, version).metadata
    return {
        "name": metadata.name,
        "versions": request.app.state.service.registry.versions_of(metadata.name),
        "platform": "openvino",
        "inputs": [{"name": asking.IMAGE, "datatype": "UINT8", "shape": [-1, *asking.image_shape(metadata)]}],
        "outputs": [
            {"name": name, "datatype": kind.datatype, "shape": [-1, *kind.shape(metadata)]}
            for name, kind in asking.kinds(metadata).items()
        ],
    }


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, object]:
    """Whatever is served can be asked at once; what is not compiled yet is when it is first asked."""
    return {"name": served(request, name, version).metadata.name, "ready": True}


class Infer:
    """Answers `infer` before FastAPI's routing, which takes more time than the rest of a small request."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` answers every other request."""
        self.app = app
        self.route: BaseRoute = next(route for route in router.routes if getattr(route, "path", "") == PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = INFER.fullmatch(path_of(scope)) if scope["type"] == "http" and scope["method"] == "POST" else None
        if not found:
            await self.app(scope, receive, send)
            return
        scope["route"] = self.route
        response = await infer(Request(scope, receive), *found.groups())
        await response(scope, receive, send)


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Classify the pictures in the one input tensor. Raises what `classify` and `wire.tensors` raise."""
    network = served(request, name, version)
    metadata = network.metadata
    done = await classify(request, network, _reader(header(request.scope, HEADER) or None, metadata))
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
        return tensors.pictures(head, rest, metadata.input, settings, checkpoint), wanted

    return read
