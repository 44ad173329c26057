"""Web pages of other origins that may call: Starlette's rules, inside our accounting."""

import time

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from app import metrics
from app.server.middleware import common_headers, identify

PREFLIGHT = "(preflight)"
"""The route that preflights are counted for, whatever path a page asks about."""


class CrossOrigin(CORSMiddleware):
    """It stands outside RequestMiddleware, whose answers need its headers, so it accounts for its own."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether a page may call, with the headers that every answer has."""
        started = time.perf_counter()
        response = super().preflight_response(request_headers)
        response.raw_headers.extend(common_headers(identify({}, dict(request_headers.raw)), started))
        metrics.answered("OPTIONS", PREFLIGHT, response.status_code)(time.perf_counter() - started)
        return response
