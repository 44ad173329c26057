"""A service that has not been started: everything around the networks answers, in a moment."""

import asyncio
from typing import Any

import httpx

from app.main import create_app
from app.settings import Settings


class _Transport(httpx.BaseTransport):
    """Hands each request to an application within this process."""

    def __init__(self, app: Any, address: str) -> None:
        self._inner = httpx.ASGITransport(app, client=(address, 1))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        content = b"".join([part async for part in answer.stream])
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(content))


def unstarted(address: str = "127.0.0.1", **settings: Any) -> httpx.Client:
    """A client at `address` of a service with these settings, whose networks are not loaded."""
    return httpx.Client(base_url="http://127.0.0.1", transport=_Transport(create_app(Settings(**settings)), address))
