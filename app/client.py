"""An httpx client for other services, blocking and asyncio.

Failures that the service tells of come back as the exceptions of `app.errors`; httpx's own exceptions tell of the
connection.
"""

import json
import os
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from app.errors import ConvoscopeError, FieldError, InternalError
from app.wire.schemas import (
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

Picture = bytes | Path
Operand = Sequence[Any] | bytes | Path
"""A nested sequence of numbers and None, or the content or the path of a picture or an npy file."""
JSON = "application/json"
Answer = TypeVar("Answer", bound=BaseModel)
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)

_BY_TYPE = {error.type: error for error in ConvoscopeError.__subclasses__()}


def _predict(pictures: Sequence[Picture], model: str | None, top_k: int) -> dict[str, Any]:
    """The arguments of the httpx call that posts `pictures`."""
    contents = [picture if isinstance(picture, bytes) else picture.read_bytes() for picture in pictures]
    return {
        "url": "/predict",
        "params": {"top_k": top_k} | ({"model": model} if model else {}),
        "files": [("image", (f"{i}", content)) for i, content in enumerate(contents)],
    }


def _picture(path: str, picture: Picture, accept: str, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the httpx call that posts one picture, with `options` as query parameters."""
    content = picture if isinstance(picture, bytes) else picture.read_bytes()
    return {"url": path, "params": _given(options), "files": {"image": content}, "headers": {"Accept": accept}}


def _kernels(model: str, layer: str, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the httpx call that asks for learned kernels."""
    return {"url": f"/models/{_quoted(model)}/layers/{_quoted(layer)}/kernels", "params": _given(options)}


def _quoted(name: str) -> str:
    """A name as one segment of a path; httpx would take "." and ".." for this folder and the one above."""
    return quote(name, safe="").replace(".", "%2E")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are not None: httpx would send them empty."""
    return {name: value for name, value in options.items() if value is not None}


def _transform(path: str, operand: Operand, accept: str, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the httpx call that posts `operand` and the fields of `options`."""
    call = {"url": path, "headers": {"Accept": accept}}
    if isinstance(operand, bytes | Path):
        content = operand if isinstance(operand, bytes) else operand.read_bytes()
        part = "input" if content.startswith(b"\x93NUMPY") else "image"
        return {**call, "files": {part: content}, "data": {"options": json.dumps(options)}}
    body = json.dumps({"input": operand, **options})  # NaN too: the service says where it is, httpx only that it is
    return {**call, "content": body, "headers": {"Accept": accept, "Content-Type": JSON}}


def _answer(response: httpx.Response, kind: type[Answer]) -> Answer:
    """The body as `kind`; fields that are younger than this client are left out. Raises as `_content`."""
    content = _content(response)
    try:
        return kind.model_validate_json(content, extra="ignore")
    except ValidationError:
        raise InternalError(f"{response.url} answered {response.status_code}, but not as Convoscope does") from None


def _content(response: httpx.Response) -> bytes:
    """The body. Raises the ConvoscopeError that a problem+json body tells of, InternalError for any other failure."""
    if response.is_success:
        return response.content
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        raise InternalError(f"{response.url} answered {response.status_code} {response.reason_phrase}") from None
    error: type[ConvoscopeError] = _BY_TYPE.get(problem.type.removeprefix("/problems/"), InternalError)
    raise error(problem.detail, [FieldError(e.field, e.detail) for e in problem.errors])


KEEP_ALIVE = 4.0
"""Seconds that an idle connection is kept: fewer than any server does, or a request could meet its closing."""


def _http(kind: type[Http], url: str, timeout: float) -> Http:
    """An httpx client for `url`. Proxies of the environment are not for loopback addresses.

    Raises ProxyUnusable if a proxy of the environment cannot be used.
    """
    limits = httpx.Limits(keepalive_expiry=KEEP_ALIVE)
    try:
        return kind(base_url=url, timeout=timeout, limits=limits, trust_env=not _is_loopback(httpx.URL(url).host))
    except (ImportError, ValueError) as error:
        raise ProxyUnusable(f"cannot use a proxy of the environment ({error}){through_proxy(url)}") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def through_proxy(url: str) -> str:
    """For a failure's text: the variables that name proxies, if `url` may have been asked through one of them."""
    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    found = [f"{name}={value}" for name, value in os.environ.items() if name.lower() in names and value]
    if not found or _is_loopback(httpx.URL(url).host):
        return ""
    return f"; set in the environment: {re.sub('//[^/@ ]*@', '//', ' '.join(found))}"  # without passwords


class ProxyUnusable(httpx.TransportError):
    """A proxy of the environment cannot be used; the message names the variables."""


class Client:
    """A blocking client; also a context manager that closes its connections."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, timeout: float = 30.0) -> None:
        """`timeout` is in seconds, for each request."""
        self._http = _http(httpx.Client, url, timeout)

    def predict(self, *pictures: Picture, model: str | None = None, top_k: int = 3) -> Predictions:
        """Say what is in each picture, given as encoded bytes or as a file's path."""
        return _answer(self._http.post(**_predict(pictures, model, top_k)), Predictions)

    def feature_maps(self, picture: Picture, **options: Any) -> FeatureMaps:
        """What layers of a network put out; `options` are model, layer, channels, top and decimals."""
        return _answer(self._http.post(**_picture("/feature-maps", picture, JSON, options)), FeatureMaps)

    def feature_maps_to(self, form: str, picture: Picture, **options: Any) -> bytes:
        """As `feature_maps`, but as a file: a sheet of "image/png" (also `scale`) or "application/x-npz"."""
        return _content(self._http.post(**_picture("/feature-maps", picture, form, options)))

    def explain(self, picture: Picture, **options: Any) -> Explanation:
        """What speaks for a label; `options` are model, method, label, grid and size."""
        return _answer(self._http.post(**_picture("/explain", picture, JSON, options)), Explanation)

    def explain_to(self, form: str, picture: Picture, **options: Any) -> bytes:
        """As `explain`, but laid over the picture, in "image/png" (also `opacity`)."""
        return _content(self._http.post(**_picture("/explain", picture, form, options)))

    def kernels(self, model: str, layer: str, **options: Any) -> Kernels:
        """What a convolution has learned; `options` are filter and channel, lists of indices."""
        return _answer(self._http.get(**_kernels(model, layer, options)), Kernels)

    def convolve(self, input: Operand, mask: Any, **options: Any) -> Convolved:
        """Convolve `input` with `mask`: a nested sequence, a name from `masks`, or a learned kernel as a dict.

        `options` are the other fields of /convolve: operation, padding, boundary, stride and so on.
        """
        return _answer(self._http.post(**_transform("/convolve", input, JSON, {"mask": mask, **options})), Convolved)

    def convolve_to(self, form: str, input: Operand, mask: Any, **options: Any) -> bytes:
        """As `convolve`, but the result as a file: of "image/png" or "application/x-npy"."""
        return _content(self._http.post(**_transform("/convolve", input, form, {"mask": mask, **options})))

    def pool(self, input: Operand, **options: Any) -> Pooled:
        """The largest or mean value of each window; `options` are the fields of /pool: kind, size, stride, padding."""
        return _answer(self._http.post(**_transform("/pool", input, JSON, options)), Pooled)

    def masks(self) -> Masks:
        """The masks that have names."""
        return _answer(self._http.get("/masks"), Masks)

    def models(self) -> Models:
        """Every network that is served."""
        return _answer(self._http.get("/models"), Models)

    def model(self, name: str) -> Model:
        """One network's layers, accuracy and training."""
        return _answer(self._http.get(f"/models/{_quoted(name)}"), Model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()


class AsyncClient:
    """The same for asyncio."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, timeout: float = 30.0) -> None:
        """`timeout` is in seconds, for each request."""
        self._http = _http(httpx.AsyncClient, url, timeout)

    async def predict(self, *pictures: Picture, model: str | None = None, top_k: int = 3) -> Predictions:
        """As `Client.predict`."""
        return _answer(await self._http.post(**_predict(pictures, model, top_k)), Predictions)

    async def feature_maps(self, picture: Picture, **options: Any) -> FeatureMaps:
        """As `Client.feature_maps`."""
        return _answer(await self._http.post(**_picture("/feature-maps", picture, JSON, options)), FeatureMaps)

    async def feature_maps_to(self, form: str, picture: Picture, **options: Any) -> bytes:
        """As `Client.feature_maps_to`."""
        return _content(await self._http.post(**_picture("/feature-maps", picture, form, options)))

    async def explain(self, picture: Picture, **options: Any) -> Explanation:
        """As `Client.explain`."""
        return _answer(await self._http.post(**_picture("/explain", picture, JSON, options)), Explanation)

    async def explain_to(self, form: str, picture: Picture, **options: Any) -> bytes:
        """As `Client.explain_to`."""
        return _content(await self._http.post(**_picture("/explain", picture, form, options)))

    async def kernels(self, model: str, layer: str, **options: Any) -> Kernels:
        """As `Client.kernels`."""
        return _answer(await self._http.get(**_kernels(model, layer, options)), Kernels)

    async def convolve(self, input: Operand, mask: Any, **options: Any) -> Convolved:
        """As `Client.convolve`."""
        arguments = _transform("/convolve", input, JSON, {"mask": mask, **options})
        return _answer(await self._http.post(**arguments), Convolved)

    async def convolve_to(self, form: str, input: Operand, mask: Any, **options: Any) -> bytes:
        """As `Client.convolve_to`."""
        return _content(await self._http.post(**_transform("/convolve", input, form, {"mask": mask, **options})))

    async def pool(self, input: Operand, **options: Any) -> Pooled:
        """As `Client.pool`."""
        return _answer(await self._http.post(**_transform("/pool", input, JSON, options)), Pooled)

    async def masks(self) -> Masks:
        """As `Client.masks`."""
        return _answer(await self._http.get("/masks"), Masks)

    async def models(self) -> Models:
        """As `Client.models`."""
        return _answer(await self._http.get("/models"), Models)

    async def model(self, name: str) -> Model:
        """As `Client.model`."""
        return _answer(await self._http.get(f"/models/{_quoted(name)}"), Model)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.aclose()
