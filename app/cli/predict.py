"""`convoscope predict`: what is in some pictures."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from app.cli import arguments
from app.cli.asking import asked, content

if TYPE_CHECKING:
    from convoscope_client import AsyncClient

NAME = "predict"
HELP = "say what is in each picture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", nargs="+", help="a file; - is standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture")
    arguments.add_answer(parser)
    arguments.add_model(parser)
    arguments.add_url(parser)


def run(options: argparse.Namespace) -> None:
    async def ask(client: "AsyncClient") -> bool:
        return any([await _predicted(client, picture, options) for picture in options.picture])

    sys.exit(asked(options, ask))


async def _predicted(client: "AsyncClient", picture: str, options: argparse.Namespace) -> bool:
    """Print what is in one picture; returns whether that failed, and then says why on standard error."""
    from convoscope_client.errors import ConvoscopeError

    try:
        answer = await client.predict(content(picture), model=options.model, top_k=options.top_k, views=options.views)
    except ConvoscopeError as error:
        print(f"convoscope: {picture}: {error}", file=sys.stderr)
        return True
    except OSError as error:
        print(f"convoscope: {picture}: {error.strerror}", file=sys.stderr)
        return True
    (prediction,) = answer.predictions
    if options.json:
        print(json.dumps({"picture": picture} | prediction.model_dump(exclude_unset=True)))
        return False
    top = ", ".join(f"{label.label} {label.probability:.1%}" for label in prediction.top)
    print(f"{picture}: {top}{'  (unlike what it was trained on)' if prediction.is_ood else ''}")
    return False
