"""What the routes have in common: reading a body, timing, and what goes into the documentation."""

import io
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, WithJsonSchema
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.errors import MalformedRequest, TooLarge, UnsupportedPicture
from app.wire import options
from app.wire.schemas import ConvolveBody, ConvolveOptions, PicturesBody, PoolBody, PoolOptions, Problem

FILE = {"type": "string", "format": "binary"}
BINARY = {"schema": FILE}
Index = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]
"""A filter or a channel. How many there are is checked later, with an error that says which layer has how many."""
NAMED = (PicturesBody, ConvolveBody, ConvolveOptions, PoolBody, PoolOptions, Problem)
"""What the documentation refers to, and FastAPI does not see."""

ANY_FAILURE = (403, 431, 500, 503)
"""Statuses that any route may answer: host or origin not allowed, head too long, a mistake of ours, stopping."""
ALWAYS = ("/healthz", "/metrics")
"""Paths that are answered also while the service is full or stopping."""
BODY_FAILURE = (408,)
"""Statuses of routes that read a body: it came too slowly."""


def reference(name: str) -> dict[str, Any]:
    """A reference to the schema of that name."""
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """A reference to one of NAMED."""
    return reference(model.__name__)


def complete(documentation: dict[str, Any]) -> None:
    """Add to an OpenAPI document the schemas of NAMED and FORMS, and the failures that any route may answer."""
    documentation["security"] = []  # none is needed, which linters want said
    schemas = documentation["components"]["schemas"]
    for model in NAMED:
        found = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**found.pop("$defs", {}), model.__name__: found}
    schemas |= FORMS
    for path, methods in documentation["paths"].items():
        for method, operation in methods.items():
            failures = {*ANY_FAILURE, *(BODY_FAILURE if method == "post" else ())}
            for status in sorted(failures - ({503} if path in ALWAYS else set())):
                add_failure(operation, status)
            for parameter in operation.get("parameters", ()):
                _leave_null_out(parameter["schema"])


def _leave_null_out(schema: dict[str, Any]) -> None:
    """A parameter of a URL is there or absent; `null`, which pydantic writes for None, would be sent as a text."""
    types = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(types) == 1:
        del schema["anyOf"]
        schema |= types[0]


def add_failure(operation: dict[str, Any], status: int) -> None:
    """Add to an OpenAPI operation a failure that it may answer."""
    content = {"application/problem+json": schema(Problem)}
    operation["responses"].setdefault(str(status), {"description": HTTPStatus(status).phrase, "content": content})


FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, or an npy array of uint8; the bytes decide"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
"""A PNG of one pixel, so that /docs sends a request that is answered."""


def _pictures(form: str, description: str) -> dict[str, Any]:
    """A request body; the form has one named part, because /docs cannot offer a file for a part of any name."""
    content = {
        "multipart/form-data": reference(form),
        "image/*": BINARY,
        "application/json": schema(PicturesBody) | {"example": {"images": [PIXEL]}},
        "application/x-npy": BINARY,
        "application/octet-stream": BINARY,
    }
    return {"requestBody": {"required": True, "description": description, "content": content}}


PICTURES = _pictures("PicturesForm", f"One picture or several: {FORMATS}. The parts of a form may have any names.")
ONE_PICTURE = _pictures("PictureForm", f"One picture: {FORMATS}. The part of a form may have any name.")
"""Bodies, for the documentation."""


def operand_body(form: str, body: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The request body of /convolve or /pool, for the documentation."""
    content = {
        "application/json": schema(body) | {"example": example},
        "multipart/form-data": reference(form),
        "image/*": BINARY,
        "application/x-npy": BINARY,
        "application/octet-stream": BINARY,
    }
    return {"requestBody": {"required": True, "content": content}}


def _operand_form(options: type[BaseModel]) -> dict[str, Any]:
    fields = {
        "image": FILE | {"description": "a picture"},
        "input": FILE | {"description": "or an npy array"},
        "options": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": schema(options)["schema"],
            "description": f"a JSON object: {', '.join(options.model_fields)}",
        },
    }
    return {"type": "object", "properties": fields}


FORMS = {
    "PicturesForm": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": FILE, "minItems": 1, "description": FORMATS}},
        "required": ["image"],
    },
    "PictureForm": {
        "type": "object",
        "properties": {"image": FILE | {"description": FORMATS}},
        "required": ["image"],
    },
    "ConvolveForm": _operand_form(ConvolveOptions),
    "PoolForm": _operand_form(PoolOptions),
}
"""Forms have names in the documentation, because generators name the class of a form after its schema."""


def binary_answers(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The forms of a route's answer besides JSON, for its documentation: text as such, all else as bytes."""
    text = {"schema": {"type": "string"}}
    return {200: {"content": {each: text if each.startswith("text/") else BINARY for each in media_types}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of a route, for its documentation."""
    return {status: {"content": {"application/problem+json": schema(Problem)}} for status in statuses}


def timing(**seconds: float) -> str:
    """A Server-Timing header: steps and their milliseconds."""
    return ", ".join([f"{step};dur={duration * 1e3:.3f}" for step, duration in seconds.items()])


async def body_of(request: Request, limit: int) -> bytes:
    """The whole body of a request. Raises as `whole_body`, and UnsupportedPicture if it is compressed as a whole."""
    coding = header(request.scope, b"content-encoding")
    if coding.lower() not in ("", "identity"):
        detail = f"Content-Encoding is {coding!r:.80}; expected none: send the body as it is"
        raise UnsupportedPicture.about("Content-Encoding", detail)
    return await whole_body(request, limit)


async def whole_body(request: Request, limit: int) -> bytes:
    """The whole body of a request, compressed or not, as it came.

    Raises TooLarge as soon as it is known to exceed `limit` bytes, MalformedRequest, ClientDisconnect.
    """
    declared = header(request.scope, b"content-length") or "0"
    if not declared.isdigit():
        raise MalformedRequest(f"Content-Length is {declared!r}; expected a number of bytes")
    if int(declared[:20]) > limit:
        raise _too_large(declared[:20], limit)
    whole, size, more = io.BytesIO(), 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise _too_large(size, limit)
        if size == len(part) and not more:
            return part
        whole.write(part)
    return whole.getvalue()  # without a copy, which would block the event loop for a large body


def _too_large(size: int | str, limit: int) -> TooLarge:
    return TooLarge.about("body", f"the body has {size} bytes or more; expected at most {limit}")


def header(scope: Scope, name: bytes) -> str:
    """The first value of a header, whose name is in lower case; empty if there is none.

    In the way of every prediction, where `request.headers` would take several times as long.
    """
    for found, value in scope["headers"]:
        if found == name:
            return value.decode("latin-1")  # type: ignore[no-any-return]
    return ""


def path_of(scope: Scope) -> str:
    """A request's path, without the prefix that a reverse proxy offers the service under."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def accepted(request: Request) -> str:
    """The request's Accept header; several count as one (RFC 9110, section 5.3)."""
    return ", ".join(request.headers.getlist("accept"))


def reject_unknown_options(request: Request) -> None:
    """Raises InvalidInput for a query parameter that the route does not have, or has once and is given twice.

    A dependency of the routes, so the application knows which one it is.
    """
    parameters = request.scope["route"].dependant.query_params
    lists = {parameter.alias for parameter in parameters if "list[" in str(parameter.field_info.annotation)}
    options.check_names(request.query_params.multi_items(), [parameter.alias for parameter in parameters], lists)


def has_left(receive: Receive) -> bool:
    """Whether the caller of a request whose body has been read has closed the connection; never waits for it to."""
    call = receive()
    try:
        call.send(None)  # type: ignore[attr-defined]  # a coroutine, which either has a message now or would wait
    except StopIteration as message:
        return bool(message.value["type"] == "http.disconnect")
    call.close()  # type: ignore[attr-defined]
    return False
