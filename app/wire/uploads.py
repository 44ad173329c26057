"""A request's body, in any of its four forms, to the pictures the network receives."""

import base64
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from python_multipart.multipart import parse_options_header

from app.errors import (
    ConvoscopeError,
    DeadlineExceeded,
    FieldError,
    InvalidInput,
    MalformedRequest,
    TooLarge,
    UnsupportedPicture,
)
from app.imaging import images
from app.settings import Settings
from app.wire import json_body, multipart, npy

Pictures = Sequence[NDArray[np.uint8]]
Encoded = Sequence[tuple[str, bytes]]
FORMS = "multipart/form-data, image/*, application/json or application/x-npy"


def pictures(content_type: str, body: bytes, settings: Settings, until: float = math.inf) -> Pictures:
    """The pictures of a request, each (32, 32, 3) uint8 RGB, in their order in the body.

    Raises MalformedRequest for a body that is not what `content_type` says, UnsupportedPicture for a type that is none
    of the four forms, TooLarge for too many pictures, and, naming every bad picture, what `images.thumbnail` raises.
    Raises DeadlineExceeded where pictures are left when time.monotonic() is `until`: nobody waits for them any more.
    """
    return _received(_found(content_type, body, settings), settings, until)


def picture(content_type: str, body: bytes, settings: Settings) -> NDArray[np.uint8]:
    """The one picture of a request as the network receives it, (32, 32, 3) uint8 RGB.

    Raises InvalidInput where there are more, and as `pictures`.
    """
    found = _found(content_type, body, settings)
    _refuse_several(len(found))
    return np.asarray(_received(found, settings)[0])


def original(content_type: str, body: bytes, settings: Settings) -> NDArray[np.uint8]:
    """The one picture of a request in all its pixels, (H, W, 3) uint8 RGB. Raises as `picture`."""
    found = _found(content_type, body, settings)
    _refuse_several(len(found))
    if isinstance(found, np.ndarray):
        return np.asarray(found[0])
    return _decoded(found, lambda data: images.full(data, max_pixels=settings.max_pixels))[0]


def _refuse_several(count: int) -> None:
    if count > 1:
        detail = f"the request has {count} pictures; expected one"
        raise InvalidInput.about("body", detail)


def _found(content_type: str, body: bytes, settings: Settings) -> Encoded | NDArray[np.uint8]:
    """The encoded pictures with their places in the request, or all of an npy body's as (N, H, W, 3)."""
    if not body:
        raise MalformedRequest.about("body", "the body is empty; expected a picture")
    if content_type[:6].lower() == "image/":
        return [("body", body)]
    kind, options = parse_options_header(content_type)
    match kind.lower():
        case b"multipart/form-data":
            return multipart.parse(body, options.get(b"boundary", b""), settings.max_pictures)
        case b"application/json":
            return _base64(json_body.parse(body, "body", settings.max_json_values), settings.max_pictures)
        case b"application/x-npy":
            return _array(body, settings)
    detail = f"the content type is {content_type!r:.100}; expected {FORMS}"
    raise UnsupportedPicture.about("Content-Type", detail)


def _received(found: Encoded | NDArray[np.uint8], settings: Settings, until: float = math.inf) -> Pictures:
    if isinstance(found, np.ndarray):
        return list(images.resize(found))
    return _decoded(found, lambda data: images.thumbnail(data, max_pixels=settings.max_pixels), until)


def _decoded(encoded: Encoded, decode: Callable[[bytes], NDArray[np.uint8]], until: float = math.inf) -> Pictures:
    """Decode every picture; where any is bad, refuse them all and name each bad one by its place in the request.

    What is raised is the first of their errors, but TooLarge before others: with a higher limit it may be none.
    """
    decoded: list[NDArray[np.uint8]] = []
    bad: list[tuple[ConvoscopeError, FieldError]] = []
    for where, data in encoded:
        if time.monotonic() > until:
            raise DeadlineExceeded(f"{len(decoded)} of {len(encoded)} pictures were decoded in time; expected all")
        try:
            decoded.append(decode(data))
        except ConvoscopeError as error:
            bad.append((error, FieldError(where, error.detail)))
    if bad:
        first = next((error for error, _ in bad if isinstance(error, TooLarge)), bad[0][0])
        fields = [field for _, field in bad]
        detail = first.detail if len(bad) == 1 else f"{len(bad)} of {len(bad) + len(decoded)} pictures cannot be used"
        raise type(first)(detail, fields)
    return decoded


def _too_many(found: int, limit: int, where: str) -> TooLarge:
    detail = f"{found} pictures in one request; expected at most {limit}"
    return TooLarge.about(where, detail)


def _base64(document: object, limit: int) -> list[tuple[str, bytes]]:
    """The (JSON pointer, content) of each picture. By hand: pydantic would list a million mistakes one by one."""
    if not isinstance(document, dict):
        raise _not_pictures("body", document)
    for key in document:
        if key != "images":
            pointer = key[:80].replace("~", "~0").replace("/", "~1")  # RFC 6901
            raise _not_pictures(f"/{pointer}", document[key])
    texts = document.get("images")
    if not isinstance(texts, list) or not texts:
        raise _not_pictures("/images", texts)
    if len(texts) > limit:
        raise _too_many(len(texts), limit, "/images")
    encoded, bad = [], []
    for i, text in enumerate(texts):
        try:
            encoded.append((f"/images/{i}", base64.b64decode(text, validate=True)))
        except (TypeError, ValueError) as error:
            bad.append(FieldError(f"/images/{i}", f"not Base64 ({error}); found {json_body.shown(text)}"))
    if bad:
        raise InvalidInput("expected every picture in Base64", bad)
    return encoded


def _not_pictures(where: str, found: object) -> InvalidInput:
    detail = f'expected {{"images": ["<base64>", …]}} and nothing else; found {json_body.shown(found)}'
    return InvalidInput.about(where, detail)


def _array(body: bytes, settings: Settings) -> NDArray[np.uint8]:
    """An npy body as (N, H, W, 3) uint8."""

    def check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype != np.uint8 or len(shape) not in (3, 4) or shape[-1] != 3 or min(shape) < 1:
            detail = f"the array is {dtype} of shape {shape}; expected uint8 of shape (N, H, W, 3) or (H, W, 3)"
            raise InvalidInput.about("body", detail)
        count, height, width, _ = shape if len(shape) == 4 else (1, *shape)
        if count > settings.max_pictures:
            raise _too_many(count, settings.max_pictures, "body")
        if height * width > settings.max_pixels:
            detail = f"the pictures are {width} x {height} pixels; expected at most {settings.max_pixels} in all"
            raise TooLarge.about("body", detail)

    pixels = npy.parse(body, "body", check)
    return pixels.reshape(-1, *pixels.shape[-3:]).view(np.uint8)
