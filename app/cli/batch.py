"""`convoscope batch`: many pictures into a file, without a service."""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from app.cli import arguments
from app.cli.asking import own_settings
from app.cli.failures import fail, fail_for_settings
from app.cli.memory import reject_little_memory

NAME = "batch"
HELP = "predict many pictures into a file; the same command goes on where it was interrupted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", nargs="+", help="a picture, a folder, a glob in quotes, a .zip, .tar, .tar.gz or .parquet file"
    )
    parser.add_argument("--out", type=Path, required=True, help="a .csv, .jsonl or .parquet file to write")
    parser.add_argument(
        "--column", help="Parquet inputs: the column of bytes or paths (default: image, or the only one)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments.add_answer(parser)
    arguments.add_model(parser)
    arguments.add_ray(parser, "predict on")


def run(options: argparse.Namespace) -> None:
    reject_little_memory()
    from pydantic import ValidationError

    from app.batch.errors import BatchError
    from app.batch.progress import Bar
    from app.batch.run import Job, run
    from app.cluster.connection import ClusterError, joined
    from app.errors import ArtifactError, ConvoscopeError

    fields = ("out", "model", "views", "top_k", "column")
    job = Job(options.input, **{name: getattr(options, name) for name in fields})
    bar = Bar(sys.stderr)
    try:
        try:
            if options.ray is None:
                summary = asyncio.run(run(job, own_settings(), bar.show))
            else:
                with joined(options.ray):
                    from app.cluster.predicting import ClusterPipeline

                    summary = asyncio.run(run(job, own_settings(), bar.show, ClusterPipeline))
        finally:
            bar.clear()
    except (BatchError, ArtifactError, ClusterError, ConvoscopeError) as error:
        fail(str(error))
    except ValidationError as error:
        fail_for_settings(error)
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from here", 130)
    print(json.dumps(asdict(summary)) if options.json else summary)
