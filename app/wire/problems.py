"""Failures as `application/problem+json` (RFC 9457): the HTTP status, title and body of each."""

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import orjson
from starlette.responses import Response
from starlette.types import Scope

from app.errors import (
    ClientDisconnected,
    ConvoscopeError,
    DeadlineExceeded,
    Draining,
    FieldError,
    Forbidden,
    HeadTooLarge,
    InternalError,
    InvalidInput,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Overloaded,
    RateLimited,
    RequestTimeout,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedPicture,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """How HTTP calls a kind of failure."""

    status: int
    title: str


KINDS: dict[type[ConvoscopeError], Kind] = {
    MalformedRequest: Kind(400, "Malformed request"),
    Unauthorized: Kind(401, "Unauthorized"),
    Forbidden: Kind(403, "Forbidden"),
    NotFound: Kind(404, "Not found"),
    MethodNotAllowed: Kind(405, "Method not allowed"),
    NotAcceptable: Kind(406, "Not acceptable"),
    RequestTimeout: Kind(408, "Request incomplete"),
    TooLarge: Kind(413, "Too large"),
    UnsupportedPicture: Kind(415, "Not a picture we read"),
    InvalidInput: Kind(422, "Invalid input"),
    RateLimited: Kind(429, "Too many requests"),
    HeadTooLarge: Kind(431, "Headers too large"),
    ClientDisconnected: Kind(499, "Client disconnected"),  # nginx's status; only metrics and logs ever see it
    InternalError: Kind(500, "Internal error"),
    Overloaded: Kind(503, "Service full"),
    Unavailable: Kind(503, "Network unavailable"),
    Draining: Kind(503, "Service stopping"),
    DeadlineExceeded: Kind(504, "Deadline exceeded"),
}

MAX_ERRORS, MAX_FIELD, MAX_DETAIL = 256, 200, 1000
"""How many errors a body lists, and the characters of each field and detail: about 300 kB in all."""

FOREIGN = re.compile(r"/(v1|v2|invocations|ping)(/|$)")
"""Paths of protocols whose clients read `{"error": "…"}`, and only of exactly the type application/json."""

RETRY_AFTER: dict[type[ConvoscopeError], str] = {Overloaded: "1", Draining: "5", Unavailable: "60"}
"""Seconds to advise: a full queue empties well within one second; a stopping service needs a replacement; files
need somebody to mend them."""


CHALLENGE = 'Bearer realm="convoscope"'
"""What a client without a key is asked for (RFC 6750, section 3)."""


def status(error: ConvoscopeError) -> int:
    """The HTTP status of a failure."""
    return KINDS[type(error)].status


def respond(error: ConvoscopeError, scope: Scope) -> Response:
    """The response that tells the client of `error`; `scope` is the request's, with its id in the state."""
    kind = KINDS[type(error)]
    if logger.isEnabledFor(logging.DEBUG):
        request_id = scope["state"]["request_id"]
        logger.debug("request %s is answered with %d %s: %.1000s", request_id, kind.status, error.type, error.detail)
    headers = {"Retry-After": RETRY_AFTER[type(error)]} if type(error) in RETRY_AFTER else {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    elif isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = f'{CHALLENGE}, error="invalid_token"' if error.errors else CHALLENGE
    elif isinstance(error, RateLimited):
        headers["Retry-After"] = str(max(1, math.ceil(error.wait)))
    if _is_foreign(scope):
        return Response(orjson.dumps({"error": _in_one_text(error)}), kind.status, headers, "application/json")
    body = {
        "type": f"/problems/{error.type}",
        "title": kind.title,
        "status": kind.status,
        "detail": _cut(error.detail, MAX_DETAIL),
        "request_id": scope["state"]["request_id"],
        "errors": [
            {"field": _cut(e.field, MAX_FIELD), "detail": _cut(e.detail, MAX_DETAIL)} for e in error.errors[:MAX_ERRORS]
        ],
    }
    return Response(orjson.dumps(body), kind.status, headers, MEDIA_TYPE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _is_foreign(scope: Scope) -> bool:
    path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
    return bool(FOREIGN.match(path)) or (path.startswith("/models/") and scope["method"] == "POST")


def _in_one_text(error: ConvoscopeError) -> str:
    fields = [f"{e.field}: {e.detail}" for e in error.errors[:MAX_ERRORS]] if len(error.errors) > 1 else []
    return _cut("; ".join([error.detail, *fields]), MAX_DETAIL)


@contextmanager
def in_json(prefix: str = "") -> Iterator[None]:
    """Names the parameters that domain code blames as JSON pointers (RFC 6901): `mask` becomes `<prefix>/mask`."""
    try:
        yield
    except ConvoscopeError as error:
        error.errors = tuple(FieldError(f"{prefix}/{e.field}", e.detail) for e in error.errors)
        raise
