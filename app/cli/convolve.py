"""`convoscope convolve`: a picture or an array and a mask."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments
from app.cli.asking import content
from app.cli.failures import fail
from app.cli.output import deliver

if TYPE_CHECKING:
    from convoscope_client import AsyncClient

NAME = "convolve"
HELP = "convolve a picture or an array with a mask"
MEDIA_TYPES = {".png": "image/png", ".npy": "application/x-npy"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", help="a picture, an npy file, or an array as JSON: '[[1, 2], [3, 4]]'")
    parser.add_argument("mask", help="a name (sobel_x), an array as JSON, or a learned kernel as a JSON object")
    parser.add_argument("--options", default="{}", help='other fields as JSON: \'{"operation": "correlation"}\'')
    parser.add_argument("--output", type=Path, help="write a .png or an .npy file instead of printing JSON")
    arguments.add_url(parser)


def run(options: argparse.Namespace) -> None:
    operand = _json("input", options.input) if options.input.startswith("[") else None
    mask = _json("mask", options.mask) if options.mask.startswith(("[", "{")) else options.mask
    fields = _json("--options", options.options)
    if not isinstance(fields, dict) or fields.keys() & {"input", "mask", "media_type", "self"}:
        fail(f"--options is {options.options!r:.80}; expected a JSON object without input and mask")

    async def ask(client: "AsyncClient", media_type: str) -> bytes:
        found = content(options.input) if operand is None else operand
        return await client.convolve_to(media_type, found, mask, **fields)

    deliver(options, MEDIA_TYPES, ask)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except ValueError as error:
        fail(f"{name} is {text!r:.80}; expected JSON ({error})")


def _refused(token: str) -> None:
    raise ValueError(f"{token} is not valid JSON; null is a missing value")
