"""Finds the command that was asked for, and runs it."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from app import __version__
from app.cli import batch, convolve, feature_maps, predict, serve
from app.cli.failures import fail


class Command(Protocol):
    """What a command's module has."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, options: argparse.Namespace) -> None:
        """Do it."""


COMMANDS: tuple[Command, ...] = (serve, predict, batch, convolve, feature_maps)
"""In the order of `convoscope --help`."""

OFFLINE = {
    "train": "train a network, by a recipe or with your own pictures",
    "import": "make an artifact of a Keras or ONNX network",
    "evaluate": "measure a network on the test pictures again",
    "export": "write the artifact of a finished training again",
    "renew": "write an artifact's graphs, figures and card again, from its weights",
    "card": "write an artifact's card again, from its metadata",
    "units": "find out what a network's units look for",
    "film": "train a small network and film it for the course",
}
"""Commands of the training program, and what they do."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. A failure is one line on standard error and exit code 1, a wrong call exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _mend_standard_output()
    try:
        try:
            _run(arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except MemoryError:
        fail("not enough memory")
    except ImportError as error:  # also where a library does not fit into memory
        fail(f"cannot load {error.name or 'a library'}: {error}")
    except OSError as error:  # of standard output: every command handles its own files and connections
        # What is left in its buffer goes nowhere: Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(f"standard output: {error.strerror}")


def _mend_standard_output() -> None:
    """Show characters that a terminal lacks as escapes; accept that standard output is closed, as in `>&-`."""
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BytesIO())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str]) -> None:
    if arguments and arguments[0] in OFFLINE:
        # The service and the training meet only in models/, so this is another program.
        os.execv(sys.executable, [sys.executable, "-m", "training", *arguments])
    options = _parser().parse_args(arguments)
    options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("convoscope", description="A picture classifier as a web service.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        added = commands.add_parser(command.NAME, help=command.HELP)
        command.add_arguments(added)
        added.set_defaults(command=command.run)
    for name, purpose in OFFLINE.items():
        commands.add_parser(name, help=purpose)
    return parser
