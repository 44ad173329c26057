"""The command line: `convoscope serve | predict | batch | convolve | feature-maps`, and those of `python -m training`.

`predict`, `convolve` and `feature-maps` ask the service at --url, or the same application in this process without it;
`batch` needs no service. Each command imports what it needs when it runs: the service starts sooner, and asking another
one needs no engine.
"""

import argparse
import asyncio
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from app import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from pydantic import ValidationError

    from app.settings import Settings
    from convoscope_client import AsyncClient

ADDRESS_SPACE, DATA = 1_300_000_000, 500_000_000
"""Bytes that loading the networks takes at least, counted as `ulimit -v` and `ulimit -d` do."""
NOBODY_ELSE = {"api_keys": None, "api_keys_file": None, "rate_limit": 0.0, "access_log": "off", "prediction_log": None}
"""The settings of a service within this process, which no other can reach."""
OFFLINE = {
    "train": "train a network, by a recipe or with your own pictures",
    "import": "make an artifact of a Keras or ONNX network",
    "evaluate": "measure a network on the test pictures again",
    "export": "write the artifact of a finished training again",
    "renew": "write an artifact's graphs, figures and card again, from its weights",
    "card": "write an artifact's card again, from its metadata",
}
"""Commands of the training program, and what they do."""
Answer = TypeVar("Answer")


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
        _fail("interrupted", 130)
    except MemoryError:
        _fail("not enough memory")
    except ImportError as error:  # also where a library does not fit into memory
        _fail(f"cannot load {error.name or 'a library'}: {error}")
    except OSError as error:  # of standard output: every command handles its own files and connections
        # What is left in its buffer goes nowhere: Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"standard output: {error.strerror}")


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


def _fail(reason: str, code: int = 1) -> NoReturn:
    line = f"convoscope: {' '.join(reason.split())}"
    if code == 1:
        sys.exit(line)
    print(line, file=sys.stderr)
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("convoscope", description="A picture classifier as a web service.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    serving = commands.add_parser("serve", help="serve the networks under models/; settings are CONVOSCOPE_* variables")
    serving.add_argument("--host", help="address to listen on")
    serving.add_argument("--port", help="port to listen on; 0 lets the system choose")
    serving.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead")
    serving.add_argument("--models", help="folder of the artifacts")
    serving.add_argument("--workers", help="processes that share the address, each with its own networks")
    serving.set_defaults(command=_serve)
    predicting = commands.add_parser("predict", help="say what is in each picture")
    predicting.add_argument("picture", nargs="+", help="a file; - is standard input")
    predicting.add_argument("--json", action="store_true", help="print one JSON object per picture")
    predicting.set_defaults(command=_predict)
    batching = commands.add_parser(
        "batch", help="predict many pictures into a file; the same command goes on where it was interrupted"
    )
    batching.add_argument(
        "input", nargs="+", help="a picture, a folder, a glob in quotes, a .zip, .tar, .tar.gz or .parquet file"
    )
    batching.add_argument("--out", type=Path, required=True, help="a .csv, .jsonl or .parquet file to write")
    batching.add_argument(
        "--column", help="Parquet inputs: the column of bytes or paths (default: image, or the only one)"
    )
    batching.add_argument("--json", action="store_true", help="print the summary as JSON")
    batching.set_defaults(command=_batch)
    convolving = commands.add_parser("convolve", help="convolve a picture or an array with a mask")
    convolving.add_argument("input", help="a picture, an npy file, or an array as JSON: '[[1, 2], [3, 4]]'")
    convolving.add_argument("mask", help="a name (sobel_x), an array as JSON, or a learned kernel as a JSON object")
    convolving.add_argument("--options", default="{}", help='other fields as JSON: \'{"operation": "correlation"}\'')
    convolving.add_argument("--output", type=Path, help="write a .png or an .npy file instead of printing JSON")
    convolving.set_defaults(command=_convolve)
    looking = commands.add_parser("feature-maps", help="show what a network's layers saw in a picture")
    looking.add_argument("picture", help="a file; - is standard input")
    looking.add_argument("--layer", action="append", help="a layer's name, repeatable (default: every convolution)")
    looking.add_argument("--top", type=int, help="at most this many maps per layer, the most active ones")
    looking.add_argument("--output", type=Path, help="write a .png sheet or an .npz file instead of printing JSON")
    looking.set_defaults(command=_feature_maps)
    for asking in (predicting, batching):
        asking.add_argument("--top-k", type=int, help="labels to list (default: 3, or all if they are fewer)")
        asking.add_argument(
            "--views",
            type=int,
            default=1,
            help="look closer: average up to this many views, 1 to 14 (default: %(default)s)",
        )
    for asking in (predicting, batching, looking):
        asking.add_argument("--model", help="a network's name (default: the default network)")
    for asking in (predicting, convolving, looking):
        asking.add_argument(
            "--url",
            help="ask the service at http://… or unix:PATH, not this process",
        )
    for name, purpose in OFFLINE.items():
        commands.add_parser(name, help=purpose)
    return parser


def _serve(options: argparse.Namespace) -> None:
    _reject_little_memory()  # before the imports, which may crash for lack of it
    from pydantic import ValidationError

    from app.errors import ArtifactError
    from app.main import create_app
    from app.routes.prediction_log import NoFolder
    from app.server.keys import BadKeys
    from app.server.listening import AddressInUse
    from app.server.processes import NowhereToCount
    from app.server.run import serve
    from app.settings import Settings, misspelt

    for warning in misspelt(os.environ):
        print(f"convoscope: {warning}", file=sys.stderr)
    given = {
        name: getattr(options, name)
        for name in ("host", "port", "uds", "models", "workers")
        if getattr(options, name) is not None
    }
    try:
        serve(Settings(**given), create_app)
    except ValidationError as error:
        _fail_for_settings(error)
    except (ArtifactError, AddressInUse, BadKeys, NoFolder, NowhereToCount) as error:
        _fail(str(error))


def _fail_for_settings(error: "ValidationError") -> NoReturn:
    for problem in error.errors():
        name = "".join(f"{part}: " for part in problem["loc"])
        # What is wrong with several settings says their values; its input is all settings, with the keys.
        found = f"; found {problem['input']!r:.80}" if name else ""
        print(f"convoscope: {name}{problem['msg']}{found}", file=sys.stderr)
    sys.exit(1)


def _reject_little_memory() -> None:
    """Exit if this process may not use the memory that loading takes: below it, libraries crash in many ways."""
    if sys.platform != "linux":
        return
    import resource

    for name, limit, needed in (("--as", resource.RLIMIT_AS, ADDRESS_SPACE), ("--data", resource.RLIMIT_DATA, DATA)):
        allowed, _ = resource.getrlimit(limit)
        if allowed != resource.RLIM_INFINITY and allowed < needed:
            found = f"a limit allows this process {allowed // 10**6} MB of memory (prlimit {name})"
            _fail(f"{found}; expected at least {needed // 10**6} MB")


def _predict(options: argparse.Namespace) -> None:
    async def ask(client: "AsyncClient") -> bool:
        return any([await _predicted(client, picture, options) for picture in options.picture])

    sys.exit(_asked(options, ask))


async def _predicted(client: "AsyncClient", picture: str, options: argparse.Namespace) -> bool:
    """Print what is in one picture; returns whether that failed, and then says why on standard error."""
    from convoscope_client.errors import ConvoscopeError

    try:
        answer = await client.predict(_content(picture), model=options.model, top_k=options.top_k, views=options.views)
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


def _content(picture: str) -> bytes:
    return sys.stdin.buffer.read() if picture == "-" else Path(picture).read_bytes()


def _batch(options: argparse.Namespace) -> None:
    _reject_little_memory()
    from pydantic import ValidationError

    from app.batch.errors import BatchError
    from app.batch.progress import Bar
    from app.batch.run import Job, run
    from app.errors import ArtifactError, ConvoscopeError

    fields = ("out", "model", "views", "top_k", "column")
    job = Job(options.input, **{name: getattr(options, name) for name in fields})
    bar = Bar(sys.stderr)
    try:
        try:
            summary = asyncio.run(run(job, _own_settings(), bar.show))
        finally:
            bar.clear()
    except (BatchError, ArtifactError, ConvoscopeError) as error:
        _fail(str(error))
    except ValidationError as error:
        _fail_for_settings(error)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from here", 130)
    print(json.dumps(asdict(summary)) if options.json else summary)


CONVOLVED = {".png": "image/png", ".npy": "application/x-npy"}
FEATURE_MAPS = {".png": "image/png", ".npz": "application/x-npz"}


def _convolve(options: argparse.Namespace) -> None:
    operand = _json("input", options.input) if options.input.startswith("[") else None
    mask = _json("mask", options.mask) if options.mask.startswith(("[", "{")) else options.mask
    fields = _json("--options", options.options)
    if not isinstance(fields, dict) or fields.keys() & {"input", "mask", "media_type", "self"}:
        _fail(f"--options is {options.options!r:.80}; expected a JSON object without input and mask")

    async def ask(client: "AsyncClient", media_type: str) -> bytes:
        found = _content(options.input) if operand is None else operand
        return await client.convolve_to(media_type, found, mask, **fields)

    _deliver(options, CONVOLVED, ask)


def _feature_maps(options: argparse.Namespace) -> None:
    async def ask(client: "AsyncClient", media_type: str) -> bytes:
        picture = _content(options.picture)
        return await client.feature_maps_to(
            media_type, picture, layer=options.layer, top=options.top, model=options.model
        )

    _deliver(options, FEATURE_MAPS, ask)


def _deliver(
    options: argparse.Namespace,
    media_types: dict[str, str],
    ask: "Callable[[AsyncClient, str], Coroutine[Any, Any, bytes]]",
) -> None:
    """Ask for the media type that the suffix of --output stands for, and write the answer; without it, print JSON."""
    media_type = media_types.get(options.output.suffix) if options.output else "application/json"
    if media_type is None:
        _fail(f"--output is {options.output}; expected a name that ends in {' or '.join(media_types)}")
    answer = _asked(options, lambda client: ask(client, media_type))
    if not options.output:
        print(answer.decode())
        return
    try:
        options.output.write_bytes(answer)
    except OSError as error:
        _fail(f"{options.output}: {error.strerror}")


def _asked(options: argparse.Namespace, ask: "Callable[[AsyncClient], Coroutine[Any, Any, Answer]]") -> "Answer":
    """What `ask` returns, given a client; any failure is one line."""
    import httpx
    from pydantic import ValidationError

    from app.errors import ArtifactError
    from convoscope_client.connection import through_proxy
    from convoscope_client.errors import ConvoscopeError

    async def work() -> "Answer":
        async with _client(options.url) as client:
            return await ask(client)

    try:
        return asyncio.run(work())
    except (ConvoscopeError, ArtifactError) as error:
        _fail(str(error))
    except ValidationError as error:
        _fail_for_settings(error)
    except httpx.HTTPError as error:
        _fail(f"{options.url}: {str(error) or type(error).__name__}{through_proxy(options.url)}")
    except OSError as error:
        if not error.filename:  # of standard output
            raise
        _fail(f"{error.filename}: {error.strerror}")


@asynccontextmanager
async def _client(url: str | None) -> "AsyncIterator[AsyncClient]":
    """A client of the service at `url`, or of this process's own."""
    from convoscope_client import AsyncClient

    if url is not None:
        api_key = os.environ.get("CONVOSCOPE_API_KEY", "").strip()
        if not (api_key.isascii() and api_key.isprintable()):
            _fail("CONVOSCOPE_API_KEY has characters other than visible ASCII, which no header can carry")
        try:
            asking = AsyncClient(url, api_key=api_key)
        except ValueError as error:
            _fail(f"--{error}")
        async with asking as client:
            yield client
        return
    _reject_little_memory()
    import httpx

    from app.main import create_app

    app = create_app(_own_settings())
    async with app.router.lifespan_context(app), AsyncClient(transport=httpx.ASGITransport(app)) as client:
        yield client


def _own_settings() -> "Settings":
    """Those of the networks in this process. Raises ValidationError."""
    from app.settings import Settings

    return Settings().model_copy(update=NOBODY_ELSE)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except ValueError as error:
        _fail(f"{name} is {text!r:.80}; expected JSON ({error})")


def _refused(token: str) -> None:
    raise ValueError(f"{token} is not valid JSON; null is a missing value")


if __name__ == "__main__":
    main()
