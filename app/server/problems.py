"""Translates any exception that leaves a route into one of this service's errors; `wire.problems` answers with it."""

import asyncio
import logging
from functools import lru_cache
from typing import Annotated

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from app.errors import (
    ArtifactError,
    ClientDisconnected,
    ConvoscopeError,
    Draining,
    FieldError,
    InternalError,
    InvalidInput,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Unavailable,
)
from app.wire import options
from app.wire.json import shown
from app.wire.problems import respond

logger = logging.getLogger(__name__)


def translate(error: BaseException, scope: Scope) -> ConvoscopeError:
    """The error to report for any exception. Of an unforeseen one the log has the traceback, the client no details."""
    match error:
        case ConvoscopeError():
            return error
        case ArtifactError():
            _log_once(str(error))
            return Unavailable("this network cannot be served: its files are not what they were at the start")
        case RequestValidationError():
            fields = [_of_query(str(mistake["loc"][1]), mistake["input"], scope) for mistake in error.errors()]
            return InvalidInput("; ".join(field.detail for field in fields), fields)
        case ClientDisconnect():
            return ClientDisconnected("the connection was closed before the request was whole")
        case asyncio.CancelledError():
            return Draining("the service stopped before this was answered")
        case HTTPException(status_code=404):
            return NotFound(f"no page is called {scope['path']!r}; /docs lists what there is")
        case HTTPException(status_code=405):
            named = "Allow" in (error.headers or {})  # Starlette's static files do not name it
            allowed = ", ".join(_methods(scope) if named else ["GET", "HEAD"])
            detail = f"{scope['method']} is not allowed for {scope['path']}; expected {allowed}"
            return MethodNotAllowed(detail, allowed=allowed)
        case HTTPException(status_code=400):
            return MalformedRequest(error.detail)
    logger.error("request %s failed", scope["state"]["request_id"], exc_info=error)
    return InternalError("something went wrong on our side; the log has it under the request's id")


def _of_query(name: str, value: object, scope: Scope) -> FieldError:
    """What is wrong with a query parameter of a route; FastAPI checks nothing else of a request."""
    (info,) = [each.field_info for each in scope["route"].dependant.query_params if each.alias == name]
    expected = options.expectation(TypeAdapter(Annotated[info.annotation, info]).json_schema())
    found = options.number(value) if isinstance(value, str) else value
    return FieldError(name, f"{name} is {shown(found)}; expected {expected}")


def _methods(scope: Scope) -> list[str]:
    """The methods of all routes with this path; Starlette names only those of the first route."""
    routes = scope["app"].routes
    scopes = {method: {**scope, "method": method} for method in ("GET", "POST")}
    found = [m for m, asked in scopes.items() if any(route.matches(asked)[0] == Match.FULL for route in routes)]
    return ["GET", "HEAD", *found[1:]] if "GET" in found else found


@lru_cache(maxsize=256)
def _log_once(message: str) -> None:
    """Log a message once: a network with damaged files may be asked for many times a second."""
    logger.error("%s", message)


async def handle(request: Request, error: Exception) -> Response:
    failure = translate(error, request.scope)
    if isinstance(failure, MethodNotAllowed) and request.method == "OPTIONS":
        return Response(status_code=204, headers={"Allow": f"{failure.allowed}, OPTIONS"})
    return respond(failure, request.scope)


def install(app: FastAPI) -> None:
    """Answer every failure inside `app`'s routes as a problem; `middleware.py` answers what is raised outside them."""
    for kind in (ConvoscopeError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
