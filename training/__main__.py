"""`python -m training`, the offline half of `convoscope`: train a network, evaluate one, export one again."""

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app import processors

RECIPES = Path(__file__).parent / "recipes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. A failure is one line on standard error and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a label in any script, on any terminal
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    if options.threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(options.threads)
        os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    else:  # TensorFlow does not count what a container's quota takes away
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(processors.usable()))
    if options.command == "train" and options.recipe is None:
        # The first result multiplies small matrices some thousand times. A second thread of numpy's waits for its turn
        # by spinning: on a busy machine that took over 30 seconds of CPU time where one thread takes half a second.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        _run(options)
    except KeyboardInterrupt:
        going_on = "; the same command goes on from the last whole epoch" if options.command == "train" else ""
        print(f"\nconvoscope: stopped{going_on}", file=sys.stderr)
        sys.exit(130)


def _run(options: argparse.Namespace) -> None:
    try:
        with _silent_libraries():
            from training import commands
    except ModuleNotFoundError as error:
        sys.exit(f"convoscope: {error.name} is not installed; `make train` sets up what training needs")
    try:
        commands.COMMANDS[options.command](options)
    except commands.FAILURES as error:
        sys.exit(f"convoscope: {error}")


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Nothing on standard error: as they load, TensorFlow's libraries write there whatever level is set."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("convoscope", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, help: str, models: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.add_argument("--data", type=Path, help="CIFAR-10 as a folder or a .tar.gz; your own pictures for `train`")
        if models:
            added.add_argument("--models", type=Path, default=Path("models"), help="folder of the artifacts")
        added.add_argument("--threads", type=int, help="cores to use (default: all)")
        return added

    train = command(
        "train",
        "train a network: of a recipe, and before it whatever that is made from, or with --data and --name but no "
        "recipe, one for your own pictures; an interrupted training goes on",
    )
    train.add_argument(
        "recipe", nargs="?", help="a recipe's name, such as fast or accurate-5, or a file that ends in .toml"
    )
    train.add_argument(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="try another value, such as augment.cutout=8; repeatable",
    )
    train.add_argument("--name", help="name of the run and the artifact (default: the recipe's)")
    own = train.add_argument_group(
        "your own pictures", "--data is a folder for each label, train/ and test/ of such, or a CSV of paths and labels"
    )
    own.add_argument("--time", default=argparse.SUPPRESS, help="how long it may take: 90s, 20m or 1h (default: 20m)")
    own.add_argument("--size", type=int, default=argparse.SUPPRESS, help="pixels along each side (default: as suits)")
    own.add_argument(
        "--from",
        dest="start",
        metavar="NETWORK",
        default=argparse.SUPPRESS,
        help="whose weights to begin with (default: fast), or scratch",
    )
    own.add_argument(
        "--no-examples",
        dest="examples",
        action="store_false",
        default=argparse.SUPPRESS,
        help="put none of your pictures into the artifact",
    )
    _add_import(commands)
    export = command("export", "write the artifact of a finished training again")
    export.add_argument("name", help="the run's name")
    for writing in (train, export):
        writing.add_argument("--runs", type=Path, default=Path("runs"), help="folder of unfinished trainings")
        writing.add_argument("--recipes", type=Path, default=RECIPES, help="folder of the recipes (default: ours)")
        writing.add_argument("--overwrite", action="store_true", help="replace a finished artifact")
    evaluate = command("evaluate", "measure an artifact on the test set and print its card's table")
    evaluate.add_argument("name", help="an artifact's name")
    instead = evaluate.add_mutually_exclusive_group()
    instead.add_argument("--served", metavar="URL", help="measure a running service instead, over HTTP")
    instead.add_argument(
        "--precisions",
        action="store_true",
        help="measure each precision instead: held-out accuracy, answers changed, images/s on this machine",
    )
    evaluate.add_argument(
        "--record",
        action="store_true",
        help="write what --served or --precisions found into the artifact and its card",
    )
    command("renew", "make an artifact's graphs, figures, plots and card again from its weights").add_argument("name")
    command("card", "render an artifact's card again from its metadata").add_argument("name")
    looking = command("units", "find out what a network's units look for, and put it into its artifact")
    looking.add_argument("name", help="an artifact's name")
    looking.add_argument("--layer", action="append", default=[], help="a layer's name, repeatable (default: four)")
    film = command("film", "train the tutorial's network on few pictures, and film it for the course", models=False)
    film.add_argument("--runs", type=Path, default=Path("runs"), help="folder of unfinished trainings")
    film.add_argument("--out", type=Path, help="the file to write (default: the one that the course shows)")
    return parser


def _add_import(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`import` takes no CIFAR-10."""
    words = "make an artifact of a network that was trained elsewhere: a Keras (.keras) or ONNX (.onnx) classifier"
    importing = commands.add_parser("import", help=words, description=words)
    importing.add_argument("network", type=Path, help="a .keras or .onnx file")
    importing.add_argument("--labels", type=Path, required=True, help="a text file, a label per line, in their order")
    importing.add_argument("--name", required=True, help="name of the artifact")
    importing.add_argument(
        "--scale", metavar="RANGE", help="what pixels are scaled to: 0..1, -1..1 or 0..255 (default)"
    )
    importing.add_argument("--mean", metavar="M[,M,M]", help="subtracted after scaling, one value or one per channel")
    importing.add_argument("--std", metavar="S[,S,S]", help="divided by then")
    importing.add_argument("--layout", choices=("nchw", "nhwc"), help="of the input (default: as its shape says)")
    importing.add_argument("--check", type=Path, metavar="FOLDER", help="pictures to measure and calibrate it on")
    importing.add_argument("--models", type=Path, default=Path("models"), help="folder of the artifacts")
    importing.add_argument("--runs", type=Path, default=Path("runs"), help="folder for pictures that were read")
    importing.add_argument("--threads", type=int, help="cores to use (default: all)")


if __name__ == "__main__":
    main()
