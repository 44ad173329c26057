"""Asking the service at --url, or without it the same application in this process."""

import argparse
import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from app.cli.failures import fail, fail_for_settings
from app.cli.memory import reject_little_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from app.settings import Settings
    from convoscope_client import AsyncClient

NOBODY_ELSE = {"api_keys": None, "api_keys_file": None, "rate_limit": 0.0, "access_log": "off", "prediction_log": None}
"""The settings of a service within this process, which no other can reach."""

Answer = TypeVar("Answer")


def content(picture: str) -> bytes:
    """The bytes of a file, or of standard input for -. Raises OSError."""
    return sys.stdin.buffer.read() if picture == "-" else Path(picture).read_bytes()


def asked(options: argparse.Namespace, ask: "Callable[[AsyncClient], Coroutine[Any, Any, Answer]]") -> "Answer":
    """What `ask` returns, given a client; any failure is one line."""
    import httpx
    from pydantic import ValidationError

    from app.errors import ArtifactError
    from convoscope_client.connection import through_proxy
    from convoscope_client.errors import ConvoscopeError

    async def work() -> "Answer":
        async with _client(options.url) as client:
            return await ask(client)

    try:
        return asyncio.run(work())
    except (ConvoscopeError, ArtifactError) as error:
        fail(str(error))
    except ValidationError as error:
        fail_for_settings(error)
    except httpx.HTTPError as error:
        fail(f"{options.url}: {str(error) or type(error).__name__}{through_proxy(options.url)}")
    except OSError as error:
        if not error.filename:  # of standard output
            raise
        fail(f"{error.filename}: {error.strerror}")


@asynccontextmanager
async def _client(url: str | None) -> "AsyncIterator[AsyncClient]":
    """A client of the service at `url`, or of this process's own."""
    from convoscope_client import AsyncClient

    if url is not None:
        api_key = os.environ.get("CONVOSCOPE_API_KEY", "").strip()
        if not (api_key.isascii() and api_key.isprintable()):
            fail("CONVOSCOPE_API_KEY has characters other than visible ASCII, which no header can carry")
        try:
            asking = AsyncClient(url, api_key=api_key)
        except ValueError as error:
            fail(f"--{error}")
        async with asking as client:
            yield client
        return
    reject_little_memory()
    import httpx

    from app.main import create_app

    app = create_app(own_settings())
    async with app.router.lifespan_context(app), AsyncClient(transport=httpx.ASGITransport(app)) as client:
        yield client


def own_settings() -> "Settings":
    """Those of the networks in this process. Raises ValidationError."""
    from app.settings import Settings

    return Settings().model_copy(update=NOBODY_ELSE)
