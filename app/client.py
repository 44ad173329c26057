"""An httpx client for other services, blocking and asyncio.

Failures that the service tells of come back as the exceptions of `app.errors`; httpx's own exceptions tell of the
connection.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app import errors
from app.errors import ConvoscopeError, FieldError, InternalError
from app.schemas import Model, Models, Predictions, Problem

Picture = bytes | Path
Answer = TypeVar("Answer", bound=BaseModel)

_BY_TYPE = {error.type: error for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "type")}


def _predict(pictures: Sequence[Picture], model: str | None, top_k: int) -> dict[str, Any]:
    """The arguments of the httpx call that posts `pictures`."""
    contents = [picture if isinstance(picture, bytes) else picture.read_bytes() for picture in pictures]
    return {
        "url": "/predict",
        "params": {"top_k": top_k} | ({"model": model} if model else {}),
        "files": [("image", (f"{i}", content)) for i, content in enumerate(contents)],
    }


def _answer(response: httpx.Response, kind: type[Answer]) -> Answer:
    """The body as `kind`. Raises the ConvoscopeError that a problem+json body tells of, InternalError for any other."""
    if response.is_success:
        return kind.model_validate_json(response.content)
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        raise InternalError(f"{response.url} answered {response.status_code} {response.reason_phrase}") from None
    error: type[ConvoscopeError] = _BY_TYPE.get(problem.type.removeprefix("/problems/"), InternalError)
    raise error(problem.detail, [FieldError(e.field, e.detail) for e in problem.errors])


class Client:
    """A blocking client; also a context manager that closes its connections."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, timeout: float = 30.0) -> None:
        """`timeout` is in seconds, for each request."""
        self._http = httpx.Client(base_url=url, timeout=timeout)

    def predict(self, *pictures: Picture, model: str | None = None, top_k: int = 3) -> Predictions:
        """Say what is in each picture, given as encoded bytes or as a file's path."""
        return _answer(self._http.post(**_predict(pictures, model, top_k)), Predictions)

    def models(self) -> Models:
        """Every network that is served."""
        return _answer(self._http.get("/models"), Models)

    def model(self, name: str) -> Model:
        """One network's layers, accuracy and training."""
        return _answer(self._http.get(f"/models/{name}"), Model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()


class AsyncClient:
    """The same for asyncio."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, timeout: float = 30.0) -> None:
        """`timeout` is in seconds, for each request."""
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout)

    async def predict(self, *pictures: Picture, model: str | None = None, top_k: int = 3) -> Predictions:
        """As `Client.predict`."""
        return _answer(await self._http.post(**_predict(pictures, model, top_k)), Predictions)

    async def models(self) -> Models:
        """As `Client.models`."""
        return _answer(await self._http.get("/models"), Models)

    async def model(self, name: str) -> Model:
        """As `Client.model`."""
        return _answer(await self._http.get(f"/models/{name}"), Model)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.aclose()
