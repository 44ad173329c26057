"""Pictures as other protocols send them: files, Base64 in JSON, and arrays of pixel values."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app import imaging
from app.deadline import Checkpoint
from app.errors import FieldError, InvalidInput, TooLarge
from app.imaging import Input
from app.settings import Settings
from app.wire import json, media_types
from app.wire.multipart import Part
from app.wire.pictures import Pictures, from_base64, in_colour, of_files

ONE = '{"b64": "<Base64>"}, Base64, or [height, width, 3] numbers from 0 to 255'
"""The forms of one instance, for error texts."""


def is_json(content_type: str, content: bytes) -> bool:
    """Whether a body is declared as JSON; or is not declared as anything, and begins as a JSON object does."""
    media_type, _ = media_types.parameters(content_type)
    untyped = media_type in media_types.UNTYPED
    return media_type == media_types.JSON or (untyped and content[:64].lstrip()[:1] == b"{")


def shapes(input: Input) -> str:
    """The shapes of pixels that a network takes, for error texts."""
    last = "3" if input.channels == 3 else f"{input.channels} or 3"
    return f"[N, height, width, {last}] or [height, width, {last}]"


def of_pixels(values: NDArray[np.generic], where: str, input: Input, settings: Settings) -> Pictures:
    """Pictures (N, H, W, 3) or (H, W, 3) of any number type, 0 to 255, as the network receives them.

    A network for grey takes (..., 1) too. Raises InvalidInput for another shape or other values, TooLarge for too many
    pictures or pixels.
    """
    shape = values.shape
    if len(shape) not in (3, 4) or shape[-1] not in (3, input.channels) or 0 in shape:
        raise InvalidInput.about(where, f"the shape is {list(shape)}; expected {shapes(input)}, channels last")
    reject_too_many(shape[0] if len(shape) == 4 else 1, settings, where)
    height, width = shape[-3:-1]
    if height * width > settings.max_pixels:
        detail = f"the pictures have {width} x {height} pixels; expected at most {settings.max_pixels} in all"
        raise TooLarge.about(where, detail)
    return list(imaging.resize(in_colour(_as_bytes(values, where)), input))


def of_instances(values: object, where: str, input: Input, settings: Settings, checkpoint: Checkpoint) -> Pictures:
    """The pictures of a JSON list whose elements are each one of ONE, or an object that holds it under any one name.

    Raises InvalidInput, TooLarge, UnsupportedPicture, naming the elements by JSON pointer from `where`.
    """
    if not isinstance(values, list) or not values:
        raise InvalidInput.about(where, f"{where} is {json.shown(values)}; expected a list of {ONE}")
    reject_too_many(len(values), settings, where)
    named = [_unnamed(value, f"{where}/{i}") for i, value in enumerate(values)]
    if all(isinstance(value, list) for _, value in named):
        pictures: list[NDArray[np.uint8]] = []
        for pointer, value in named:
            checkpoint()
            pictures += of_pixels(_one(numbers(value, pointer), pointer), pointer, input, settings)
        return pictures
    return of_files(decoded_all(named), input, settings, checkpoint)


def of_inputs(value: object, where: str, input: Input, settings: Settings, checkpoint: Checkpoint) -> Pictures:
    """The pictures of one JSON value: a list as `of_instances` takes, one picture, or numbers of `shapes`.

    The value may be in an object under any one name. Raises as `of_instances`.
    """
    where, value = _unnamed(value, where)
    if not isinstance(value, list):
        return of_files(decoded_all([(where, value)]), input, settings, checkpoint)
    if value and isinstance(value[0], list):
        return of_pixels(numbers(value, where), where, input, settings)
    return of_instances(value, where, input, settings, checkpoint)


def decoded_all(texts: Sequence[tuple[str, object]]) -> list[Part]:
    """Base64 texts, each with its place in the request, as files. Raises InvalidInput, naming every bad one."""
    found, bad = [], []
    for where, text in texts:
        try:
            found.append(Part(where, from_base64(text)))
        except ValueError as error:
            bad.append(FieldError(where, f"{where} is {json.shown(text)}, not Base64 ({error}); expected {ONE}"))
    if bad:
        raise InvalidInput(bad[0].detail if len(bad) == 1 else "expected every picture in Base64", bad)
    return found


def numbers(value: object, where: str) -> NDArray[np.float64]:
    """A nested list as an array. Raises InvalidInput if it is ragged or holds something other than numbers."""
    try:
        return np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        reason = f"{error}".split(" The detected")[0]
        detail = f"{where} is {json.shown(value)}: {reason:.100}; expected a nested list of numbers, not ragged"
        raise InvalidInput.about(where, detail) from None


def _unnamed(value: object, where: str) -> tuple[str, object]:
    """What is in `{"b64": …}` or under the one name of an object, with its JSON pointer."""
    for _ in range(2):  # {"image": {"b64": …}}
        if isinstance(value, Mapping):
            if len(value) != 1:
                detail = f"{where} is {json.shown(value)}; expected one input: {ONE}"
                raise InvalidInput.about(where, detail)
            ((name, value),) = value.items()
            where += json.pointer(name)
    return where, value


def _one(values: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    if values.ndim != 3:
        detail = f"{where} has the shape {list(values.shape)}; expected [height, width, 3], one picture per instance"
        raise InvalidInput.about(where, detail)
    return values


def _as_bytes(values: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    floats = values.astype(np.float64)
    low, high = floats.min(), floats.max()
    if not (low >= 0 and high <= 255):  # and so not for NaN
        raise InvalidInput.about(where, f"the values are {low:g} to {high:g}; expected 0 to 255")
    if 0 < high <= 1 and (floats % 1).any():
        detail = f"the values are {low:g} to {high:g}; expected 0 to 255: multiply them by 255"
        raise InvalidInput.about(where, detail)
    return np.rint(floats).astype(np.uint8)


def reject_too_many(count: int, settings: Settings, where: str) -> None:
    """Raise TooLarge for more pictures than one request may have."""
    if count > settings.max_pictures:
        detail = f"{count} pictures in one request; expected at most {settings.max_pictures}"
        raise TooLarge.about(where, detail)
