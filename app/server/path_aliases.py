"""Other paths for the routes of containers, as Vertex AI names them in AIP_PREDICT_ROUTE and AIP_HEALTH_ROUTE."""

from starlette.types import ASGIApp, Receive, Scope, Send


class PathAliases:
    """Lets POST of one path be /invocations, and GET or HEAD of another be /ping; around everything else.

    The paths may be the same, or those of routes that exist: the aliases come first.
    """

    def __init__(self, app: ASGIApp, *, predict: str | None, health: str | None) -> None:
        self.app = app
        self._aliases = {
            ("POST", predict): "/invocations",
            ("GET", health): "/ping",
            ("HEAD", health): "/ping",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (path := self._aliases.get((scope["method"], scope["path"]))):
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)
