"""The command line: `convoscope serve | predict` here, `train | evaluate | export` in the training package."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.client import Client
from app.errors import ConvoscopeError
from app.server import AddressInUse, serve
from app.settings import Settings

OFFLINE = ("train", "evaluate", "export")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. A failure is one line on standard error and exit code 1, a wrong call exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in OFFLINE:
        # The service and the training meet only in models/, so this is another program.
        os.execv(sys.executable, [sys.executable, "-m", "training", *arguments])
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except ValidationError as error:
        sys.exit("\n".join(f"convoscope: {_setting_problem(problem)}" for problem in error.errors()))
    except ConvoscopeError as error:
        sys.exit(f"convoscope: {error.detail}")
    except AddressInUse as error:
        sys.exit(f"convoscope: {error}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        sys.exit(f"convoscope: {options.url}: {error}")
    except OSError as error:
        sys.exit(f"convoscope: {error.filename}: {error.strerror}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("convoscope", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    serving = commands.add_parser("serve", help="serve the networks under models/; settings are CONVOSCOPE_* variables")
    serving.add_argument("--host", help="address to listen on")
    serving.add_argument("--port", help="port to listen on; 0 lets the system choose")
    serving.add_argument("--models", help="folder of the artifacts")
    serving.set_defaults(command=_serve)
    predicting = commands.add_parser("predict", help="ask a running service what is in each picture")
    predicting.add_argument("picture", type=Path, nargs="+")
    predicting.add_argument("--url", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    predicting.add_argument("--model", help="a network's name (default: the service's)")
    predicting.add_argument("--top-k", type=int, default=3, help="labels to list (default: %(default)s)")
    predicting.set_defaults(command=_predict)
    for name in OFFLINE:
        commands.add_parser(name, help=f"see `convoscope {name} --help`")
    return parser


def _serve(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in ("host", "port", "models") if getattr(options, name) is not None}
    serve(Settings(**given))


def _predict(options: argparse.Namespace) -> None:
    failed = False
    with Client(options.url) as client:
        for picture in options.picture:
            try:
                (prediction,) = client.predict(picture, model=options.model, top_k=options.top_k).predictions
            except ConvoscopeError as error:
                print(f"convoscope: {picture}: {error.detail}", file=sys.stderr)
                failed = True
                continue
            top = ", ".join(f"{label.label} {label.probability:.1%}" for label in prediction.top)
            print(f"{picture}: {top}{'  (unlike what it was trained on)' if prediction.is_ood else ''}")
    sys.exit(failed)


def _setting_problem(problem: ErrorDetails) -> str:
    name = "".join(str(part) for part in problem["loc"])
    return f"{name}: {problem['msg']}; found {problem['input']!r}" if name else problem["msg"]


if __name__ == "__main__":
    main()
