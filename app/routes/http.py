"""What the routes have in common: reading a body, the deadline, timing, and what goes into the documentation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request

from app.errors import DeadlineExceeded, FieldError, MalformedRequest, TooLarge
from app.schemas import PicturesBody, Problem

BINARY = {"schema": {"type": "string", "format": "binary"}}


def _pictures(description: str) -> dict[str, Any]:
    parts = {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
    content = {
        "multipart/form-data": {"schema": parts},
        "image/*": BINARY,
        "application/json": {"schema": PicturesBody.model_json_schema()},
        "application/x-npy": BINARY,
    }
    return {"requestBody": {"required": True, "description": description, "content": content}}


FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF; the bytes decide."
PICTURES = _pictures(f"One picture or several: {FORMATS}")
ONE_PICTURE = _pictures(f"One picture: {FORMATS}")
"""Bodies, for the documentation."""


def binary_answers(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The forms of a route's answer besides JSON, for its documentation."""
    return {200: {"content": dict.fromkeys(media_types, BINARY)}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of a route, for its documentation."""
    return {status: {"model": Problem, "content": {"application/problem+json": {}}} for status in statuses}


def timing(**seconds: float) -> str:
    """A Server-Timing header: steps and their milliseconds."""
    return ", ".join(f"{step};dur={duration * 1e3:.3f}" for step, duration in seconds.items())


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Raises DeadlineExceeded, dropping what is waited for, where it takes longer than that."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"no answer within {seconds:g} s") from None


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to exceed `limit` bytes."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal():
        raise MalformedRequest(f"Content-Length is {declared!r}; expected a number of bytes")
    chunks: list[bytes] = []
    size = int(declared)
    if size <= limit:
        size = 0
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                break
    if size > limit:
        detail = f"the body has {size} bytes or more; expected at most {limit}"
        raise TooLarge(detail, [FieldError("body", detail)])
    return b"".join(chunks)
