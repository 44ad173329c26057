"""Every call of the service, described once: the request to send, and the model that its answer becomes.

Options that are None are not sent, so that the service's own defaults hold.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from convoscope_client.content import NPY, Picture, content
from convoscope_client.errors import ConvoscopeError, FieldError, InternalError
from convoscope_client.models import (
    Convolved,
    Explanation,
    FeatureMaps,
    Kernels,
    Masks,
    Model,
    Models,
    Pooled,
    Predictions,
    Problem,
)

Answer = TypeVar("Answer")
Parsed = TypeVar("Parsed", bound=BaseModel)

JSON = "application/json"
MediaType = str
Numbers = Sequence[Any]
"""A nested sequence of numbers and None, which is a missing value."""
Operand = Numbers | Picture
Mask = str | Numbers | Mapping[str, Any]
"""A name from `masks`, numbers, or a learned kernel: {"layer": …, "filter": …, "channel": …}, perhaps with "model"."""
PerAxis = int | Sequence[int]
Padding = str | int | Sequence[int | Sequence[int]]

_BY_TYPE = {error.type: error for error in ConvoscopeError.__subclasses__()}


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request. `read` makes its answer of a response, and raises what `content_of` raises."""

    method: Literal["GET", "POST"]
    path: str
    read: "Reader[Answer]"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of httpx's `build_request`."""


class Reader(Generic[Answer]):
    """From a response to an answer."""

    def __call__(self, response: httpx.Response) -> Answer:
        raise NotImplementedError


class _AsBytes(Reader[bytes]):
    def __call__(self, response: httpx.Response) -> bytes:
        return content_of(response)


class _As(Reader[Parsed]):
    def __init__(self, model: type[Parsed]) -> None:
        self.model = model

    def __call__(self, response: httpx.Response) -> Parsed:
        found = content_of(response)
        try:
            return self.model.model_validate_json(found, extra="ignore")  # fields that are younger than this client
        except ValidationError:
            detail = f"{response.url} answered {response.status_code}, but not as Convoscope does"
            raise InternalError(detail) from None


def content_of(response: httpx.Response) -> bytes:
    """The body. Raises the ConvoscopeError that a problem+json body tells of, InternalError for any other failure."""
    if response.is_success:
        return response.content
    try:
        problem = Problem.model_validate_json(response.content, extra="ignore")
    except ValidationError:
        raise InternalError(f"{response.url} answered {response.status_code} {response.reason_phrase}") from None
    error: type[ConvoscopeError] = _BY_TYPE.get(problem.type.removeprefix("/problems/"), InternalError)
    raise error(problem.detail, [FieldError(e.field, e.detail) for e in problem.errors])


def predict(
    *pictures: Picture, model: str | None = None, top_k: int | None = None, views: int | None = None
) -> Call[Predictions]:
    """Say what is in each picture; `top_k` labels each, 3 by default, averaged over up to `views` views, 1 to 14."""
    files = [("image", (f"{i}", content(picture))) for i, picture in enumerate(pictures)]
    return Call("POST", "/predict", _As(Predictions), _given(model=model, top_k=top_k, views=views) | {"files": files})


def feature_maps(
    picture: Picture,
    *,
    model: str | None = None,
    layer: str | Sequence[str] | None = None,
    channels: Sequence[int] | None = None,
    top: int | None = None,
    decimals: int | None = None,
) -> Call[FeatureMaps]:
    """What layers of a network put out for a picture: all convolutions by default, all channels or the `top` ones."""
    options = _given(model=model, layer=layer, channels=channels, top=top, decimals=decimals)
    return Call("POST", "/feature-maps", _As(FeatureMaps), _picture(picture, JSON) | options)


def feature_maps_to(
    media_type: MediaType,
    picture: Picture,
    *,
    model: str | None = None,
    layer: str | Sequence[str] | None = None,
    channels: Sequence[int] | None = None,
    top: int | None = None,
    scale: Literal["layer", "map", "all"] | None = None,
) -> Call[bytes]:
    """As `feature_maps`, but as a file: a contact sheet in "image/png", or "application/x-npz"."""
    options = _given(model=model, layer=layer, channels=channels, top=top, scale=scale)
    return Call("POST", "/feature-maps", _AsBytes(), _picture(picture, media_type) | options)


def explain(
    picture: Picture,
    *,
    model: str | None = None,
    method: Literal["lime", "occlusion", "cam"] | None = None,
    label: str | None = None,
    grid: int | None = None,
    size: int | None = None,
) -> Call[Explanation]:
    """What in a picture speaks for a label, the most probable one by default."""
    options = _given(model=model, method=method, label=label, grid=grid, size=size)
    return Call("POST", "/explain", _As(Explanation), _picture(picture, JSON) | options)


def explain_to(
    media_type: MediaType,
    picture: Picture,
    *,
    model: str | None = None,
    method: Literal["lime", "occlusion", "cam"] | None = None,
    label: str | None = None,
    grid: int | None = None,
    size: int | None = None,
    opacity: float | None = None,
) -> Call[bytes]:
    """As `explain`, but laid over the picture, in "image/png"."""
    options = _given(model=model, method=method, label=label, grid=grid, size=size, opacity=opacity)
    return Call("POST", "/explain", _AsBytes(), _picture(picture, media_type) | options)


def convolve(
    input: Operand,
    mask: Mask,
    *,
    operation: Literal["convolution", "correlation"] | None = None,
    padding: Padding | None = None,
    boundary: Literal["constant", "reflect", "mirror", "nearest", "wrap"] | None = None,
    fill_value: float | None = None,
    stride: PerAxis | None = None,
    dilation: PerAxis | None = None,
    normalize: bool | None = None,
    missing: Literal["propagate", "ignore", "zero"] | None = None,
    activation: Literal["none", "relu", "sigmoid", "tanh"] | None = None,
    trace: Mapping[str, Any] | None = None,
    color: Literal["rgb", "gray"] | None = None,
    display: Literal["clamp", "absolute", "rescale"] | None = None,
) -> Call[Convolved]:
    """Convolve numbers, an npy file or a picture with a mask. The options are the fields of /convolve."""
    options = {name: value for name, value in locals().items() if name != "input"}
    return Call("POST", "/convolve", _As(Convolved), _transform(input, JSON, options))


def convolve_to(media_type: MediaType, input: Operand, mask: Mask, **options: Any) -> Call[bytes]:
    """As `convolve`, with its options, but the result as a file: "image/png" or "application/x-npy"."""
    return Call("POST", "/convolve", _AsBytes(), _transform(input, media_type, {"mask": mask, **options}))


def pool(
    input: Operand,
    *,
    kind: Literal["max", "average"] | None = None,
    size: PerAxis | None = None,
    stride: PerAxis | None = None,
    padding: Literal["valid", "same"] | None = None,
    color: Literal["rgb", "gray"] | None = None,
) -> Call[Pooled]:
    """The largest or mean value of each window of numbers, an npy file or a picture."""
    options = {name: value for name, value in locals().items() if name != "input"}
    return Call("POST", "/pool", _As(Pooled), _transform(input, JSON, options))


def masks() -> Call[Masks]:
    """The masks that have names."""
    return Call("GET", "/masks", _As(Masks))


def models() -> Call[Models]:
    """Every network that is served."""
    return Call("GET", "/models", _As(Models))


def model(name: str) -> Call[Model]:
    """One network's layers, accuracy and training."""
    return Call("GET", f"/models/{_quoted(name)}", _As(Model))


def kernels(
    model: str, layer: str, *, filter: Sequence[int] | None = None, channel: Sequence[int] | int | None = None
) -> Call[Kernels]:
    """What a convolution has learned: all of it, or these filters and input channels."""
    path = f"/models/{_quoted(model)}/layers/{_quoted(layer)}/kernels"
    return Call("GET", path, _As(Kernels), _given(filter=filter, channel=channel))


def _quoted(name: str) -> str:
    """A name as one segment of a path; httpx would take "." and ".." for this folder and the one above."""
    return quote(name, safe="").replace(".", "%2E")


def _given(**options: Any) -> dict[str, Any]:
    """Query parameters; httpx would send None as an empty value."""
    return {"params": {name: value for name, value in options.items() if value is not None}}


def _picture(picture: Picture, accept: str) -> dict[str, Any]:
    return {"files": {"image": content(picture)}, "headers": {"Accept": accept}}


def _transform(operand: Operand, accept: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as JSON; a picture or an npy file as a form, whose `options` part is JSON."""
    given = {name: value for name, value in options.items() if value is not None}
    headers = {"Accept": accept}
    if isinstance(operand, Sequence) and not isinstance(operand, str | bytes | bytearray | memoryview | os.PathLike):
        # NaN too, which JSON has no word for: the service says where it is, httpx only that there is one.
        body = json.dumps({"input": operand, **given})
        return {"content": body, "headers": headers | {"Content-Type": JSON}}
    found = content(operand)
    part = "input" if found.startswith(NPY) else "image"
    return {"files": {part: found}, "data": {"options": json.dumps(given)}, "headers": headers}
