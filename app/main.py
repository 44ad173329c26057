"""The application: routes, middleware, and the networks' life from start to stop."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi_offline import FastAPIOffline
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from app import __version__
from app.inference.registry import Registry
from app.routes import convolve, explain, feature_maps, health, http, models, page, predict
from app.routes.http import reject_unknown_options
from app.routes.prediction_log import PredictionLog
from app.routes.protocols import hugging_face, invocations, open_inference, tensorflow_serving, triton
from app.routes.service import Service
from app.server import access_log, problems, tracing
from app.server.cross_origin import CrossOrigin
from app.server.gate import Gate, GateMiddleware
from app.server.in_flight import InFlight
from app.server.middleware import RequestMiddleware
from app.server.origins import Origins
from app.server.path_aliases import PathAliases
from app.server.proxied import ProxyHeaders
from app.settings import Settings

TAGS = [
    {"name": "predict", "description": "What is in a picture."},
    {"name": "convolve", "description": "Any array or picture, convolved with any mask, or pooled."},
    {"name": "look inside", "description": "What the layers of a network saw, and why it said what it said."},
    {"name": "models", "description": "The networks that are served, and the kernels they have learned."},
    {"name": "health", "description": "For orchestrators and Prometheus."},
]
"""The groups of routes in the API's documentation."""

EXPOSED = ["Inference-Header-Content-Length", "Retry-After", "Server-Timing", "X-Clipped-Pixels", "X-Request-ID"]
"""Headers of answers that scripts of other origins may read."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The whole service as an ASGI application; settings come from the environment where none are given.

    The artifacts are verified here, so that a bad one stops the start with ArtifactError, and so are the API keys
    (BadKeys) and the folder for predictions (NoFolder); the default network is compiled and warmed up when the server
    starts the application, before it takes the first request.
    """
    settings = settings or Settings()
    registry = Registry(settings)
    in_flight = InFlight(settings)
    gate = Gate(settings)
    prediction_log = PredictionLog.of(settings)
    access = access_log.writer() if settings.access_log == "on" else None
    traces = tracing.provider(os.environ)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service = Service(settings, registry, prediction_log, traced=traces is not None)
        await service.start()
        yield
        await in_flight.drain(settings.drain)
        in_flight.left_behind = await service.close()
        if access:
            await asyncio.to_thread(access.close)
        if traces:
            await tracing.close(traces)
        if prediction_log:
            await asyncio.to_thread(prediction_log.close)

    app = FastAPIOffline(
        title="Convoscope",
        description="See what is in a picture, with networks trained from scratch here, or with your own.",
        version=__version__,
        license_info={"name": "MIT", "identifier": "MIT"},
        contact={"name": "Convoscope"},
        servers=[{"url": "/"}],
        openapi_tags=TAGS,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever host the caller says
        static_url="/docs/assets",
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI would ask for OpenTelemetry each time
    )
    app.state.in_flight = in_flight
    app.openapi = partial(_documentation, app, gate)  # type: ignore[method-assign]
    problems.install(app)
    for area in (predict, convolve, feature_maps, explain, models):
        app.include_router(area.router, dependencies=[Depends(reject_unknown_options)])
    for area in (health, page, triton, open_inference, tensorflow_serving, hugging_face, invocations):
        app.include_router(area.router)
    app.mount("/static", page.files)
    app.middleware_stack = _stack(app, settings, in_flight, gate, access)
    if traces:
        app.middleware_stack = tracing.Tracing(app.middleware_stack, traces=traces)
    return app


def _stack(
    app: FastAPI, settings: Settings, in_flight: InFlight, gate: Gate, access: access_log.Writer | None
) -> ASGIApp:
    """What every request passes, whatever its route, from the inside out; what no setting asks for costs nothing.

    It replaces the stack that FastAPI builds. Two of FastAPI's layers are left out, because every prediction would pay
    for them: one answers unforeseen errors, which RequestMiddleware does, and the other tells OpenTelemetry of them.
    """
    stack: ASGIApp = AsyncExitStackMiddleware(app.router)
    stack = ExceptionMiddleware(stack, handlers=app.exception_handlers)
    stack = open_inference.Infer(stack)
    stack = predict.Predict(stack)
    if not gate.admits_everybody:
        stack = GateMiddleware(stack, gate=gate)
    if settings.root_path or settings.trusted_proxies:
        stack = ProxyHeaders(stack, trusted=settings.trusted_proxies, root_path=settings.root_path)
    origins = Origins("" if settings.uds else settings.host, settings.allowed_hosts, settings.cors_origins)
    stack = RequestMiddleware(stack, in_flight=in_flight, origins=origins)
    if settings.predict_route or settings.health_route:
        stack = PathAliases(stack, predict=settings.predict_route, health=settings.health_route)
    if settings.cors_origins:
        stack = CrossOrigin(
            stack,
            allow_origins=[origin.strip() for origin in settings.cors_origins.split(",")],
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    if access:
        stack = access_log.AccessLog(stack, line=access_log.LINES[settings.log_format], writer=access)
    return stack


def _documentation(app: FastAPI, gate: Gate) -> dict[str, Any]:
    if app.openapi_schema is None:
        documentation = FastAPI.openapi(app)  # which leaves it there
        http.complete(documentation)
        gate.describe(documentation)
    assert app.openapi_schema
    return app.openapi_schema
