"""GET /healthz, /readyz and /metrics: for orchestrators and Prometheus."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from app.errors import Draining
from app.metrics import exposition
from app.routes.http import problems
from app.routes.service import Service

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """The process is alive and its event loop turns."""
    return "ok"


@router.get("/readyz", response_class=PlainTextResponse, responses=problems(503))
async def readyz(request: Request) -> str:
    """The default network is loaded and new work is taken. Raises Unavailable, and Draining once it stops."""
    if request.app.state.in_flight.draining:
        raise Draining("the service is stopping and takes no new work")
    service: Service = request.app.state.service
    service.network(None)
    return "ok"


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Prometheus metrics of this service, of all its processes together."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)
