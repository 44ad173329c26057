"""Where an answer goes: a file, or standard output."""

import argparse
from typing import TYPE_CHECKING, Any

from app.cli.asking import asked
from app.cli.failures import fail

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from convoscope_client import AsyncClient


def deliver(
    options: argparse.Namespace,
    media_types: dict[str, str],
    ask: "Callable[[AsyncClient, str], Coroutine[Any, Any, bytes]]",
) -> None:
    """Ask for the media type that the suffix of --output stands for, and write the answer; without it, print JSON."""
    media_type = media_types.get(options.output.suffix) if options.output else "application/json"
    if media_type is None:
        fail(f"--output is {options.output}; expected a name that ends in {' or '.join(media_types)}")
    answer = asked(options, lambda client: ask(client, media_type))
    if not options.output:
        print(answer.decode())
        return
    try:
        options.output.write_bytes(answer)
    except OSError as error:
        fail(f"{options.output}: {error.strerror}")
