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


class _Reading(NamedTuple):
    """How pictures are read."""

    of_array: Callable[[NDArray[np.uint8]], Pictures]
    """From (N, H, W, 3)."""
    of_file: Callable[..., Picture]
    channels: tuple[int, ...] = (3,)
    """The last dimensions that arrays may have."""


def _as_received(input: Input) -> _Reading:
    """As a network receives them, (size, size, channels); one for grey takes arrays of grey too."""
    return _Reading(
        lambda pixels: list(imaging.resize(pixels, input)),
        lambda data, *, max_pixels: imaging.thumbnail(data, input, max_pixels=max_pixels),
        (3,) if input.channels == 3 else (input.channels, 3),
    )


def _viewed(input: Input, count: int) -> _Reading:
    """Up to `count` views of each picture, as a network receives them, (N, size, size, channels)."""
    return _as_received(input)._replace(
        of_array=lambda pixels: [imaging.views_of(picture, input, count) for picture in pixels],
        of_file=lambda data, *, max_pixels: imaging.views(data, input, count, max_pixels=max_pixels),
    )


IN_FULL = _Reading(list, imaging.full)
"""In all their pixels, (H, W, 3)."""


class _Limit(NamedTuple):
    """How many pictures a request may have, where the network looks at each in several views."""

    pictures: int
    views: int = 1

    def check(self, count: int, where: str) -> None:
        """Raises TooLarge where `count` pictures are too many."""
        if count * self.views > self.pictures:
            each = f" with {self.views} views each" if self.views > 1 else ""
            most = self.pictures // self.views
            raise TooLarge.about(where, f"{count} pictures in one request; expected at most {most}{each}")


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
    if views > 1:
        return _received_in_views(content_type, content, input, settings, checkpoint, views)
    body, limit = bodies.parse(content_type, content, settings), _Limit(settings.max_pictures)
    decoder = _Decoder(_as_received(input), body, settings, limit)
    return Received(_decoded(body, _encoded(body, limit), decoder, checkpoint), _fields(body))


def _received_in_views(
    content_type: str, content: bytes, input: Input, settings: Settings, checkpoint: Checkpoint, views: int
) -> Received:
    limit = _Limit(settings.max_pictures, views)
    body = bodies.parse(content_type, content, settings)
    found = _decoded(body, _encoded(body, limit), _Decoder(_viewed(input, views), body, settings, limit), checkpoint)
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
    _Limit(settings.max_pictures).check(len(files), "body")
    body = Body("image/*", files)
    limit = settings.max_pixels
    return _decoded(body, files, lambda part: [imaging.thumbnail(part.content, input, max_pixels=limit)], checkpoint)


def one(content_type: str, content: bytes, input: Input, settings: Settings) -> Picture:
    """The one picture of a request as the network receives it, (size, size, channels) uint8.

    Raises as `received`, and InvalidInput if there are several.
    """
    return _single(content_type, content, settings, _as_received(input))


def original(content_type: str, content: bytes, settings: Settings) -> Picture:
    """The one picture of a request in all its pixels, (H, W, 3) uint8 RGB. Raises as `one`."""
    return _single(content_type, content, settings, IN_FULL)


def _single(content_type: str, content: bytes, settings: Settings, reading: _Reading) -> Picture:
    body, limit = bodies.parse(content_type, content, settings), _Limit(settings.max_pictures)
    parts = _encoded(body, limit)
    _reject_several(len(parts))
    found = _decoded(body, parts, _Decoder(reading, body, settings, limit))
    _reject_several(len(found))
    return np.asarray(found[0])


def _reject_several(count: int) -> None:
    if count > 1:
        raise InvalidInput.about("body", f"the request has {count} pictures; expected one")


def _encoded(body: Body, limit: _Limit) -> Sequence[Part]:
    """The parts that are pictures. The text fields of a form are not, unless the form has nothing else."""
    if body.is_json:
        return _base64(body.document, limit)
    parts = [part for part in body.parts if not part.text] or body.parts
    limit.check(len(parts), "body")
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

    def __init__(self, reading: _Reading, body: Body, settings: Settings, limit: _Limit) -> None:
        self._reading = reading
        self._only_arrays = body.media_type == media_types.NPY
        self._settings = settings
        self._limit = limit
        self._count = 0

    def __call__(self, part: Part) -> Pictures:
        """The pictures of one part. Raises MalformedRequest, UnsupportedPicture, InvalidInput, TooLarge."""
        if self._only_arrays or part.content.startswith(npy.MAGIC):
            pixels = npy.parse(part.content, part.name, self._check).view(np.uint8)
            return self._reading.of_array(in_colour(pixels.reshape(-1, *pixels.shape[-3:])))
        self._admit(1)
        return [self._reading.of_file(part.content, max_pixels=self._settings.max_pixels)]

    def _admit(self, count: int) -> None:
        self._count += count
        self._limit.check(self._count, "body")

    def _check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        channels = self._reading.channels
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


def _base64(document: object, limit: _Limit) -> list[Part]:
    """The pictures of a JSON body, named by their JSON pointers. Raises InvalidInput, TooLarge."""
    if not isinstance(document, dict):
        raise _not_pictures("body", document)
    for key in document:
        if key != "images":
            raise _not_pictures(json.pointer(key), document[key])
    texts = document.get("images")
    if not isinstance(texts, list) or not texts:
        raise _not_pictures("/images", texts)
    limit.check(len(texts), "/images")
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
