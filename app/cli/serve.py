"""`convoscope serve`: the service."""

import argparse
import os
import sys

from app.cli import arguments
from app.cli.failures import fail, fail_for_settings
from app.cli.memory import reject_little_memory

NAME = "serve"
HELP = "serve the networks under models/; settings are CONVOSCOPE_* variables"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", help="port to listen on; 0 lets the system choose")
    parser.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead")
    parser.add_argument("--models", help="folder of the artifacts")
    parser.add_argument("--workers", help="processes that share the address, each with its own networks")
    arguments.add_ray(parser, "serve from")


def run(options: argparse.Namespace) -> None:
    reject_little_memory()  # before the imports, which may crash for lack of it
    from pydantic import ValidationError

    from app.cluster.connection import ClusterError, joined
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
        settings = Settings(**given)
        if options.ray is None:
            serve(settings, create_app)
            return
        with joined(options.ray):
            from app.cluster import serving

            serving.serve(settings, create_app, options.ray)
    except ValidationError as error:
        fail_for_settings(error)
    except (ArtifactError, AddressInUse, BadKeys, ClusterError, NoFolder, NowhereToCount) as error:
        fail(str(error))
