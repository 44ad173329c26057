"""The layers that `app.main` puts in place of those of FastAPI: this fails first when a release changes them."""

from collections.abc import Iterator

from fastapi import FastAPI
from starlette.types import ASGIApp

from app.main import create_app
from app.settings import Settings

DROPPED = ["ServerErrorMiddleware", "ExceptionTelemetryMiddleware"]


def layers(stack: ASGIApp | None) -> Iterator[str]:
    """The names of the classes from the outermost to the innermost."""
    while stack is not None:
        yield type(stack).__name__
        stack = getattr(stack, "app", None)


def test_the_innermost_layers_are_fastapi_s_own() -> None:
    theirs, ours = list(layers(FastAPI().build_middleware_stack())), list(layers(create_app().middleware_stack))
    assert theirs[:2] == DROPPED
    assert ours[-len(theirs[2:]) :] == theirs[2:]


def test_every_request_passes_the_accounting_before_it_is_answered() -> None:
    found = list(layers(create_app().middleware_stack))
    assert found.index("RequestMiddleware") < found.index("Predict") < found.index("Infer")


def test_a_layer_is_there_only_where_a_setting_asks_for_it() -> None:
    everything = Settings(root_path="/a", cors_origins="*", predict_route="/p", health_route="/h")
    optional = ["CrossOrigin", "PathAliases", "ProxyHeaders"]
    assert [name for name in layers(create_app(everything).middleware_stack) if name in optional] == optional
    assert not set(optional) & set(layers(create_app().middleware_stack))
