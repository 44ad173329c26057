"""GET / and /learn: the page that shows what the service does, the course, and their static files."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

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
BY_ACCEPT = {"Vary": "Accept"}
"""For caches: there is another answer under the same address."""

router = APIRouter(include_in_schema=False)


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


_static = _Files(directory=STATIC)
files = GZipMiddleware(_static, minimum_size=1000, compresslevel=6)
"""To be mounted at /static. Compressed, the whole first view is about a third as large."""


@router.get("/")
async def page(request: Request) -> Response:
    """The page for browsers, and `{"status": "alive"}` for callers that do not prefer HTML, as KServe's V1."""
    if media_types.choose(accepted(request), (media_types.JSON, HTML)) == media_types.JSON:
        return JSONResponse({"status": "alive"}, headers=BY_ACCEPT)
    response = await _static.get_response("index.html", request.scope)
    response.headers.update(BY_ACCEPT)
    return response


@router.get("/learn")
async def course(request: Request) -> Response:
    """The course."""
    return await _static.get_response("learn.html", request.scope)
