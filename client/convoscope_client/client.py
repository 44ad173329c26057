"""`Client` and `AsyncClient`: they differ only in how they send; the calls are described in `calls`."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx

from convoscope_client import calls
from convoscope_client.calls import Call
from convoscope_client.connection import LOST, http, is_temporary, wait_before

P = ParamSpec("P")
Answer = TypeVar("Answer")

DEFAULT_URL = "http://127.0.0.1:8000"


def _blocking(build: Callable[P, Call[Answer]]) -> Callable[Concatenate["Client", P], Answer]:
    @wraps(build)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._send(build(*args, **kwargs))

    return method


def _awaited(build: Callable[P, Call[Answer]]) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, Answer]]:
    @wraps(build)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self._send(build(*args, **kwargs))

    return method


def _headers(headers: dict[str, str] | None, api_key: str | None) -> dict[str, str]:
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("api_key has characters other than visible ASCII, which no header can carry")
    return (headers or {}) | ({"Authorization": f"Bearer {api_key}"} if api_key else {})


class Client:
    """A blocking client; also a context manager that closes its connections."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = 30.0,
        retries: int = 2,
        headers: dict[str, str] | None = None,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` may be `unix:` and the path of a socket.

        `timeout` is in seconds, for each attempt; `retries` are attempts after the first that fails temporarily.

        Raises ValueError for another `url` and for an `api_key` that no header can carry, ProxyUnusable for a proxy of
        the environment that cannot be used.
        """
        self._http = http(httpx.Client, url, _headers(headers, api_key), timeout=timeout, transport=transport)
        self._retries = retries

    predict = _blocking(calls.predict)
    feature_maps = _blocking(calls.feature_maps)
    feature_maps_to = _blocking(calls.feature_maps_to)
    explain = _blocking(calls.explain)
    explain_to = _blocking(calls.explain_to)
    convolve = _blocking(calls.convolve)
    convolve_to = _blocking(calls.convolve_to)
    pool = _blocking(calls.pool)
    masks = _blocking(calls.masks)
    models = _blocking(calls.models)
    model = _blocking(calls.model)
    kernels = _blocking(calls.kernels)

    def _send(self, call: Call[Answer]) -> Answer:
        for attempt in range(self._retries):
            try:
                response = self._http.request(call.method, call.path, **call.arguments)
            except LOST:
                time.sleep(wait_before(attempt))
                continue
            if not is_temporary(response):
                return call.read(response)
            time.sleep(wait_before(attempt, response))
        return call.read(self._http.request(call.method, call.path, **call.arguments))

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """The same for asyncio; also an asynchronous context manager."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = 30.0,
        retries: int = 2,
        headers: dict[str, str] | None = None,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """As `Client`."""
        self._http = http(httpx.AsyncClient, url, _headers(headers, api_key), timeout=timeout, transport=transport)
        self._retries = retries

    predict = _awaited(calls.predict)
    feature_maps = _awaited(calls.feature_maps)
    feature_maps_to = _awaited(calls.feature_maps_to)
    explain = _awaited(calls.explain)
    explain_to = _awaited(calls.explain_to)
    convolve = _awaited(calls.convolve)
    convolve_to = _awaited(calls.convolve_to)
    pool = _awaited(calls.pool)
    masks = _awaited(calls.masks)
    models = _awaited(calls.models)
    model = _awaited(calls.model)
    kernels = _awaited(calls.kernels)

    async def _send(self, call: Call[Answer]) -> Answer:
        for attempt in range(self._retries):
            try:
                response = await self._http.request(call.method, call.path, **call.arguments)
            except LOST:
                await asyncio.sleep(wait_before(attempt))
                continue
            if not is_temporary(response):
                return call.read(response)
            await asyncio.sleep(wait_before(attempt, response))
        return call.read(await self._http.request(call.method, call.path, **call.arguments))

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
