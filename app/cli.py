"""The command line: `convoscope serve | predict | convolve | feature-maps`, and those of `python -m training`.

Each command imports what it needs when it runs: the service is to be ready soon, and asking it needs no engine.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.client import Client

ADDRESS_SPACE, DATA = 1_300_000_000, 500_000_000
"""Bytes that loading the networks takes at least, counted as `ulimit -v` and `ulimit -d` do."""
OFFLINE = ("train", "evaluate", "export", "renew", "card")


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
    commands = parser.add_subparsers(required=True, metavar="command")
    serving = commands.add_parser("serve", help="serve the networks under models/; settings are CONVOSCOPE_* variables")
    serving.add_argument("--host", help="address to listen on")
    serving.add_argument("--port", help="port to listen on; 0 lets the system choose")
    serving.add_argument("--models", help="folder of the artifacts")
    serving.add_argument("--workers", help="processes that share the address, each with its own networks")
    serving.set_defaults(command=_serve)
    predicting = commands.add_parser("predict", help="ask a running service what is in each picture")
    predicting.add_argument("picture", type=Path, nargs="+")
    predicting.add_argument("--url", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    predicting.add_argument("--model", help="a network's name (default: the service's)")
    predicting.add_argument("--top-k", type=int, default=3, help="labels to list (default: %(default)s)")
    predicting.set_defaults(command=_predict)
    convolving = commands.add_parser("convolve", help="ask a running service to convolve a picture or an array")
    convolving.add_argument("input", help="a picture, an npy file, or an array as JSON: '[[1, 2], [3, 4]]'")
    convolving.add_argument("mask", help="a name (sobel_x), an array as JSON, or a learned kernel as a JSON object")
    convolving.add_argument("--options", default="{}", help='other fields as JSON: \'{"operation": "correlation"}\'')
    convolving.add_argument("--output", type=Path, help="write a .png or an .npy instead of printing JSON")
    convolving.add_argument("--url", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    convolving.set_defaults(command=_convolve)
    looking = commands.add_parser("feature-maps", help="ask a running service what a network's layers saw in a picture")
    looking.add_argument("picture", type=Path)
    looking.add_argument("--layer", action="append", help="a layer's name, repeatable (default: every convolution)")
    looking.add_argument("--top", type=int, help="only so many of the most active maps of each layer")
    looking.add_argument("--model", help="a network's name (default: the service's)")
    looking.add_argument("--output", type=Path, help="write a .png sheet or an .npz instead of printing JSON")
    looking.add_argument("--url", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    looking.set_defaults(command=_feature_maps)
    for name in OFFLINE:
        commands.add_parser(name, help=f"see `convoscope {name} --help`")
    return parser


def _serve(options: argparse.Namespace) -> None:
    _reject_little_memory()  # before the imports, which may crash for lack of it
    from pydantic import ValidationError

    from app.errors import ArtifactError
    from app.server.processes import NowhereToCount
    from app.server.run import AddressInUse, serve
    from app.settings import Settings, misspelt

    for warning in misspelt(os.environ):
        print(f"convoscope: {warning}", file=sys.stderr)
    given = {
        name: getattr(options, name)
        for name in ("host", "port", "models", "workers")
        if getattr(options, name) is not None
    }
    try:
        serve(Settings(**given))
    except ValidationError as error:
        for problem in error.errors():
            name = "".join(f"{part}: " for part in problem["loc"])
            print(f"convoscope: {name}{problem['msg']}; found {problem['input']!r:.80}", file=sys.stderr)
        sys.exit(1)
    except (ArtifactError, AddressInUse, NowhereToCount) as error:
        _fail(str(error))


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
    import httpx

    from app.client import Client, through_proxy
    from app.errors import ConvoscopeError

    failed = False
    try:
        with Client(options.url) as client:
            for picture in options.picture:
                try:
                    (prediction,) = client.predict(picture, model=options.model, top_k=options.top_k).predictions
                except (ConvoscopeError, OSError) as error:
                    said = error.strerror if isinstance(error, OSError) else error
                    print(f"convoscope: {picture}: {said}", file=sys.stderr)
                    failed = True
                    continue
                top = ", ".join(f"{label.label} {label.probability:.1%}" for label in prediction.top)
                print(f"{picture}: {top}{'  (unlike what it was trained on)' if prediction.is_ood else ''}")
    except httpx.InvalidURL as error:
        _fail(f"{options.url}: {error}")
    except httpx.HTTPError as error:
        _fail(f"{options.url}: {str(error) or type(error).__name__}{through_proxy(options.url)}")
    sys.exit(failed)


CONVOLVED = {".png": "image/png", ".npy": "application/x-npy"}
FEATURE_MAPS = {".png": "image/png", ".npz": "application/x-npz"}


def _convolve(options: argparse.Namespace) -> None:
    operand = _json("input", options.input) if options.input.startswith("[") else Path(options.input)
    mask = _json("mask", options.mask) if options.mask.startswith(("[", "{")) else options.mask
    fields = _json("--options", options.options)
    if not isinstance(fields, dict) or fields.keys() & {"input", "mask", "form", "self"}:
        _fail(f"--options is {options.options!r:.80}; expected a JSON object without input and mask")
    _deliver(options, CONVOLVED, lambda client, form: client.convolve_to(form, operand, mask, **fields))


def _feature_maps(options: argparse.Namespace) -> None:
    wanted = {"layer": options.layer, "top": options.top, "model": options.model}
    _deliver(options, FEATURE_MAPS, lambda client, form: client.feature_maps_to(form, options.picture, **wanted))


def _deliver(options: argparse.Namespace, forms: dict[str, str], ask: "Callable[[Client, str], bytes]") -> None:
    """Ask the service for the one of `forms` that --output's suffix says, and write it; without it, print JSON."""
    import httpx

    from app.client import Client, through_proxy
    from app.errors import ConvoscopeError

    form = forms.get(options.output.suffix) if options.output else "application/json"
    if form is None:
        _fail(f"--output is {options.output}; expected a name that ends in {' or '.join(forms)}")
    try:
        with Client(options.url) as client:
            answer = ask(client, form)
        if options.output:
            options.output.write_bytes(answer)
    except ConvoscopeError as error:
        _fail(str(error))
    except httpx.InvalidURL as error:
        _fail(f"{options.url}: {error}")
    except httpx.HTTPError as error:
        _fail(f"{options.url}: {str(error) or type(error).__name__}{through_proxy(options.url)}")
    except OSError as error:
        _fail(f"{error.filename or options.output or 'a file'}: {error.strerror}")
    if not options.output:
        print(answer.decode())


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except ValueError as error:
        _fail(f"{name} is {text!r:.80}; expected JSON ({error})")


def _refused(token: str) -> None:
    raise ValueError(f"{token} is not valid JSON; null is a missing value")


if __name__ == "__main__":
    main()
