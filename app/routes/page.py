"""GET / and /learn: the page that shows what the service does, the course, and their static files."""

import gzip
import os
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Scope

from app.routes.http import accepted
from app.wire import media_types

STATIC = Path(__file__).parent.parent / "static"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "object-src 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Cache-Control": "no-cache",  # asked for anew each time, but sent only when the ETag differs
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

HTML = "text/html"

COMPRESSED = (".css", ".html", ".js", ".json", ".svg")
"""Suffixes of files that are sent compressed, from SMALLEST bytes on. The whole first view is then a third as large."""

SMALLEST = 1000

router = APIRouter(include_in_schema=False)


class Files(StaticFiles):
    """The files of a folder, with HEADERS. A file is compressed when it is first asked for, and again if it changes."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        path = os.fspath(full_path)
        if not path.endswith(COMPRESSED) or stat_result.st_size < SMALLEST:
            return response
        response.headers.add_vary_header("Accept-Encoding")
        asked = dict(scope["headers"])
        if response.status_code != 200 or b"range" in asked or b"gzip" not in asked.get(b"accept-encoding", b""):
            return response
        body = _compressed(path, stat_result.st_mtime_ns, stat_result.st_size)
        headers = {**response.headers, "content-encoding": "gzip", "content-length": str(len(body))}
        return Response(body, headers=headers)


@lru_cache(maxsize=256)
def _compressed(path: str, _modified: int, _size: int) -> bytes:
    """The file as it was when it was last modified."""
    return gzip.compress(Path(path).read_bytes(), 6, mtime=0)


files = Files(directory=STATIC)
"""To be mounted at /static."""


@router.get("/")
async def page(request: Request) -> Response:
    """The page for browsers, and `{"status": "alive"}` for callers that do not prefer HTML, as KServe's V1."""
    if media_types.choose(accepted(request), (media_types.JSON, HTML)) == media_types.JSON:
        return JSONResponse({"status": "alive"}, headers={"Vary": "Accept"})
    response = await files.get_response("index.html", request.scope)
    response.headers.add_vary_header("Accept")
    return response


@router.get("/learn")
async def course(request: Request) -> Response:
    """The course."""
    return await files.get_response("learn.html", request.scope)
