"""Arguments that several commands take."""

import argparse


def add_answer(parser: argparse.ArgumentParser) -> None:
    """What the answer to a picture is to have."""
    parser.add_argument("--top-k", type=int, help="labels to list (default: 3, or all if they are fewer)")
    parser.add_argument(
        "--views",
        type=int,
        default=1,
        help="look closer: average up to this many views, 1 to 14 (default: %(default)s)",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a network's name (default: the default network)")


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="ask the service at http://… or unix:PATH, not this process")


def add_ray(parser: argparse.ArgumentParser, doing: str) -> None:
    purpose = f"{doing} the Ray cluster at HOST:PORT, or one that is started on this machine"
    parser.add_argument("--ray", nargs="?", const="local", metavar="ADDRESS", help=purpose)
