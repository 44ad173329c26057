"""`convoscope feature-maps`: what a network's layers saw in a picture."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli import arguments
from app.cli.asking import content
from app.cli.output import deliver

if TYPE_CHECKING:
    from convoscope_client import AsyncClient

NAME = "feature-maps"
HELP = "show what a network's layers saw in a picture"
MEDIA_TYPES = {".png": "image/png", ".npz": "application/x-npz"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", help="a file; - is standard input")
    parser.add_argument("--layer", action="append", help="a layer's name, repeatable (default: every convolution)")
    parser.add_argument("--top", type=int, help="at most this many maps per layer, the most active ones")
    parser.add_argument("--output", type=Path, help="write a .png sheet or an .npz file instead of printing JSON")
    arguments.add_model(parser)
    arguments.add_url(parser)


def run(options: argparse.Namespace) -> None:
    async def ask(client: "AsyncClient", media_type: str) -> bytes:
        picture = content(options.picture)
        return await client.feature_maps_to(
            media_type, picture, layer=options.layer, top=options.top, model=options.model
        )

    deliver(options, MEDIA_TYPES, ask)
