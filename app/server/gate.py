"""Who may ask, and how often: API keys and rate limits, for every route of every protocol."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from app import metrics
from app.errors import RateLimited, Unauthorized
from app.routes.http import add_failure, path_of
from app.server.keys import Keys
from app.server.rate_limit import RateLimit, network_of
from app.settings import Settings

PROBES = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/ping", "/health"})
PAGES = frozenset({"/", "/docs", "/docs/oauth2-redirect", "/openapi.json", "/favicon.ico", "/learn"})
FOLDERS = ("/static/", "/docs/assets/", "/learn/")
"""What is the same for everybody: it needs no key, and no rate counts for it."""


class Gate:
    """Admits requests that carry a key and keep to the rate. Raises BadKeys where it is made."""

    def __init__(self, settings: Settings) -> None:
        self._keys = Keys.of(settings)
        self._limit = RateLimit(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None
        self._open = PROBES | PAGES | ({"/metrics"} if settings.metrics_public else frozenset())

    @property
    def admits_everybody(self) -> bool:
        """Whether no setting asks for a gate."""
        return not (self._keys or self._limit)

    def check(self, scope: Scope) -> None:
        """Leave the name of a request's key in the scope's state. Raises Unauthorized, RateLimited.

        The scope's client must be the caller and not a proxy, and its root_path the proxy's prefix.
        """
        if scope["method"] != "POST" and self._is_open(scope["method"], path_of(scope)):
            return
        name = ""
        if self._keys:
            try:
                name = scope["state"]["key"] = self._keys.owner(scope["headers"])
            except Unauthorized:
                self._take(scope, "", "unauthorized")  # whoever tries keys has a rate, too
                raise
        self._take(scope, name, "admitted")

    def describe(self, documentation: dict[str, Any]) -> None:
        """Add to an OpenAPI document what this gate asks for, and how it rejects."""
        if self._keys:
            documentation["components"]["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            documentation["security"] = [{"bearer": []}, {"header": []}]
        failures = [*([401] if self._keys else []), *([429] if self._limit else [])]
        for path, methods in documentation["paths"].items():
            for method, operation in methods.items():
                if self._is_open(method.upper(), path):
                    operation["security"] = []
                    continue
                for status in failures:
                    add_failure(operation, status)

    def _is_open(self, method: str, path: str) -> bool:
        """Also OPTIONS: a browser asks with it whether a page may ask at all, and sends no key along."""
        if method in ("GET", "HEAD"):
            return path in self._open or path.startswith(FOLDERS)
        return method == "OPTIONS"

    def _take(self, scope: Scope, name: str, outcome: str) -> None:
        """Count a request for the key of this name, or for its address. Raises RateLimited."""
        if self._limit:
            try:
                self._limit.take(name or _address(scope))
            except RateLimited:
                metrics.key_asked(name, "rate_limited")(1)
                raise
        metrics.key_asked(name, outcome)(1)


class GateMiddleware:
    """The gate around everything that answers; it stands inside `ProxyHeaders`, which knows whose a request is."""

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self.app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._gate.check(scope)
        await self.app(scope, receive, send)


def _address(scope: Scope) -> str:
    return network_of(scope["client"][0]) if scope.get("client") else "an unknown address"
