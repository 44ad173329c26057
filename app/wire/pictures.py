"""The pictures of a request, from any body: as a network receives them, or in all their pixels."""

import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app import imaging
from app.deadline import Checkpoint, unbounded
from app.errors import ConvoscopeError, FieldError, InvalidInput, TooLarge, UnsupportedPicture
from app.imaging import Input
from app.settings import Settings
from app.wire import body as bodies
from app.wire import json, media_types, npy
from app.wire.body import Body
from app.wire.multipart import MAX_TEXT, Part

Picture = NDArray[np.uint8]
Pictures = Sequence[Picture]

DATA_URL = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
URL_SAFE = bytes.maketrans(b"-_", b"+/")
ESCAPED = {b"%2B": b"+", b"%2b": b"+", b"%2F": b"/", b"%2f": b"/", b"%3D": b"=", b"%3d": b"="}
"""What a data: URL may have in place of the characters of Base64 that are not safe in a URL."""
SLICE = 1 << 22
"""Characters of Base64 decoded at once; other threads run between slices."""


class Received(NamedTuple):
    """What a request for predictions holds."""

    pictures: Pictures
    """Each as the network receives it, (size, size, channels) uint8, in their order in the body, view by view."""
    fields: Mapping[str, str]
    """The text fields of a form."""
    views: Sequence[int] = ()
    """How many of `pictures` are views of each picture; empty where several views were not asked for."""


def received(
    content_type: str,
    content: bytes,
    input: Input,
    settings: Settings,
    checkpoint: Checkpoint = unbounded,
    views: int = 1,
) -> Received:
    """The pictures of a request as the network with that input receives them, of each up to `views` views.

    With the text fields of a form.

    Raises what `body.parse` raises; TooLarge for too many pictures or views; what `imaging.thumbnail` raises, naming
    every bad picture; and what `checkpoint` raises, which is called before each picture.
    """
    body = bodies.parse(content_type, content, settings)
    parts = _encoded(body, settings, views)
    found = _decoded(body, parts, _Decoder(input, body, settings, views), checkpoint)
    if views == 1:
        return Received(found, _fields(body))
    return Received([view for picture in found for view in picture], _fields(body), [len(picture) for picture in found])


def _fields(body: Body) -> dict[str, str]:
    return {part.name: part.content.decode() for part in body.parts if part.text and len(part.content) <= MAX_TEXT}


def every(
    content_type: str, content: bytes, input: Input, settings: Settings, checkpoint: Checkpoint = unbounded
) -> Pictures:
    """The pictures of a request, each as the network receives it. Raises as `received`."""
    return received(content_type, content, input, settings, checkpoint).pictures


def of_files(files: Sequence[Part], input: Input, settings: Settings, checkpoint: Checkpoint = unbounded) -> Pictures:
    """Image files that came in some other protocol's body, each as the network receives it; there is one per file.

    Raises TooLarge for too many pictures; what `imaging.thumbnail` raises, naming every bad picture; and what
    `checkpoint` raises.
    """
    _reject_more(len(files), settings)
    body = Body("image/*", files)
    limit = settings.max_pixels
    return _decoded(body, files, lambda part: [imaging.thumbnail(part.content, input, max_pixels=limit)], checkpoint)


def one(content_type: str, content: bytes, input: Input, settings: Settings) -> Picture:
    """The one picture of a request as the network receives it, (size, size, channels) uint8.

    Raises as `received`, and InvalidInput if there are several.
    """
    return _single(content_type, content, settings, input)


def original(content_type: str, content: bytes, settings: Settings) -> Picture:
    """The one picture of a request in all its pixels, (H, W, 3) uint8 RGB. Raises as `one`."""
    return _single(content_type, content, settings, None)


def _single(content_type: str, content: bytes, settings: Settings, input: Input | None) -> Picture:
    body = bodies.parse(content_type, content, settings)
    parts = _encoded(body, settings)
    _reject_several(len(parts))
    found = _decoded(body, parts, _Decoder(input, body, settings))
    _reject_several(len(found))
    return np.asarray(found[0])


def _reject_several(count: int) -> None:
    if count > 1:
        raise InvalidInput.about("body", f"the request has {count} pictures; expected one")


def _reject_more(count: int, settings: Settings, views: int = 1, where: str = "body") -> None:
    """Raises TooLarge if `count` pictures, each in so many views, are more than one request may have."""
    if count * views > settings.max_pictures:
        each = f" with {views} views each" if views > 1 else ""
        most = settings.max_pictures // views
        raise TooLarge.about(where, f"{count} pictures in one request; expected at most {most}{each}")


def _encoded(body: Body, settings: Settings, views: int = 1) -> Sequence[Part]:
    """The parts that are pictures. The text fields of a form are not, unless the form has nothing else."""
    if body.is_json:
        return _base64(body.document, settings, views)
    parts = [part for part in body.parts if not part.text] or body.parts
    _reject_more(len(parts), settings, views)
    return parts


def _decoded(
    body: Body, parts: Sequence[Part], decode: Callable[[Part], Pictures], checkpoint: Checkpoint = unbounded
) -> list[Picture]:
    """Decode every part; if any is bad, reject them all and name each bad one by its place in the request.

    Raises the first of their errors, but TooLarge before others: the picture may be good, and only the limit too low.
    """
    decoded: list[Picture] = []
    # Of an error only its class and text are kept: its traceback holds this frame, and so the whole body.
    bad: list[tuple[type[ConvoscopeError], FieldError]] = []
    for part in parts:
        checkpoint()
        try:
            decoded += decode(part)
        except ConvoscopeError as error:
            bad.append((type(error), FieldError(part.name, error.detail)))
    if bad:
        _reject(body, bad, len(parts))
    return decoded


def _reject(body: Body, bad: Sequence[tuple[type[ConvoscopeError], FieldError]], count: int) -> None:
    kind = TooLarge if any(kind is TooLarge for kind, _ in bad) else bad[0][0]
    fields = [field for _, field in bad]
    if kind is UnsupportedPicture and body.media_type in media_types.UNTYPED:
        detail = f"the content type is {body.media_type!r}, so the bytes decide: {fields[0].detail}"
        raise kind.about("Content-Type", f"{detail}; or declare one of {bodies.MEDIA_TYPES}")
    if len(bad) == 1:
        raise kind(next(field.detail for found, field in bad if found is kind), fields)
    raise kind(f"{len(bad)} of {count} pictures cannot be used", fields)


class _Decoder:
    """Decodes the parts of one body, and counts the pictures: an array holds several."""

    def __init__(self, input: Input | None, body: Body, settings: Settings, views: int = 1) -> None:
        """Pictures become what a network with that `input` receives, (size, size, channels), or `views` of each.

        Those have one dimension more. With None, all pixels are kept, (H, W, 3).
        """
        self._input = input
        self._only_arrays = body.media_type == media_types.NPY
        self._settings = settings
        self._views = views
        self._count = 0

    def __call__(self, part: Part) -> Pictures:
        """The pictures of one part. Raises MalformedRequest, UnsupportedPicture, InvalidInput, TooLarge."""
        if self._only_arrays or part.content.startswith(npy.MAGIC):
            pixels = npy.parse(part.content, part.name, self._check).view(np.uint8)
            return self._of_array(in_colour(pixels.reshape(-1, *pixels.shape[-3:])))
        self._admit(1)
        return [self._of_file(part.content, self._settings.max_pixels)]

    def _of_array(self, pixels: NDArray[np.uint8]) -> Pictures:
        """From (N, H, W, 3)."""
        if self._input is None:
            return list(pixels)
        if self._views > 1:
            return [imaging.views_of(picture, self._input, self._views) for picture in pixels]
        return list(imaging.resize(pixels, self._input))

    def _of_file(self, data: bytes, most: int) -> Picture:
        if self._input is None:
            return imaging.full(data, max_pixels=most)
        if self._views > 1:
            return imaging.views(data, self._input, self._views, max_pixels=most)
        return imaging.thumbnail(data, self._input, max_pixels=most)

    def _admit(self, count: int) -> None:
        self._count += count
        _reject_more(self._count, self._settings, self._views)

    def _check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        grey = self._input is not None and self._input.channels == 1
        channels = (1, 3) if grey else (3,)
        if dtype != np.uint8 or len(shape) not in (3, 4) or shape[-1] not in channels or min(shape) < 1:
            raise InvalidInput(f"the array is {dtype} of shape {shape}; {_expected(dtype, channels)}")
        count, height, width, _ = shape if len(shape) == 4 else (1, *shape)
        self._admit(count)
        if height * width > (most := self._settings.max_pixels):
            raise TooLarge(f"the pictures have {width} x {height} pixels; expected at most {most} in all")


def in_colour(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pictures (..., 3) as they are, and (..., 1) of grey as (..., 3), which has the same luma."""
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)


def _expected(dtype: np.dtype[Any], channels: Sequence[int]) -> str:
    last = " or ".join(map(str, channels))
    expected = f"expected uint8, 0 to 255, of shape (N, H, W, {last}) or (H, W, {last})"
    if dtype.kind != "f":
        return expected
    return f"{expected}; convert values from 0 to 1 with (array * 255).round().astype('uint8')"


def _base64(document: object, settings: Settings, views: int) -> list[Part]:
    """The pictures of a JSON body, named by their JSON pointers. Raises InvalidInput, TooLarge."""
    if not isinstance(document, dict):
        raise _not_pictures("body", document)
    for key in document:
        if key != "images":
            raise _not_pictures(json.pointer(key), document[key])
    texts = document.get("images")
    if not isinstance(texts, list) or not texts:
        raise _not_pictures("/images", texts)
    _reject_more(len(texts), settings, views, "/images")
    encoded, bad = [], []
    for i, text in enumerate(texts):
        try:
            encoded.append(Part(f"/images/{i}", from_base64(text)))
        except ValueError as error:
            bad.append(FieldError(f"/images/{i}", f"not Base64: {error}; found {json.shown(text)}"))
    if bad:
        raise InvalidInput("expected every picture in Base64", bad)
    return encoded


def _not_pictures(where: str, found: object) -> InvalidInput:
    detail = f'expected {{"images": ["<base64>", …]}} and nothing else; found {json.shown(found)}'
    return InvalidInput.about(where, detail)


def from_base64(text: object) -> bytes:
    """The bytes of a Base64 text (RFC 4648), standard or URL-safe, with or without a `data:` prefix, padding, spaces.

    Raises ValueError if it is not one.
    """
    if not isinstance(text, str):
        raise ValueError("expected a string")
    escaped = text[:5].lower() == "data:"
    start = _end_of_prefix(text) if escaped else 0
    decoded, rest = [], b""
    try:
        for piece in _slices(text, start):
            rest += _plain(piece.encode("ascii"), escaped)
            whole = len(rest.rstrip(b"=")) // 4 * 4
            if rest.find(b"=", 0, whole) >= 0:
                raise ValueError("it goes on after its padding")
            decoded.append(binascii.a2b_base64(rest[:whole], strict_mode=True))
            rest = rest[whole:]
        rest = rest.rstrip(b"=")
        decoded.append(binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True))
    except UnicodeEncodeError:
        raise ValueError("it has characters beyond ASCII") from None
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    return b"".join(decoded)


def _end_of_prefix(url: str) -> int:
    """Where the data of a data: URL (RFC 2397) begins. Raises ValueError if it is not declared as Base64."""
    prefix = DATA_URL.match(url)
    if not prefix or not prefix[0].lower().endswith(";base64,"):
        raise ValueError("it begins with data: but not as in data:image/png;base64,")
    return prefix.end()


def _slices(text: str, start: int) -> Iterator[str]:
    """`text` from `start` on, about SLICE characters at a time; no slice ends within an escape such as %2B."""
    while start < len(text):
        end = min(start + SLICE, len(text))
        if end < len(text) and (cut := text.find("%", end - 2, end)) > start:
            end = cut
        yield text[start:end]
        start = end


def _plain(piece: bytes, escaped: bool) -> bytes:
    """Base64 in its standard alphabet, without white space."""
    if escaped and b"%" in piece:
        for escape, character in ESCAPED.items():
            piece = piece.replace(escape, character)
    return piece.translate(URL_SAFE, b" \t\r\n")
