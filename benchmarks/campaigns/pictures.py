"""Pictures of every format, sound and damaged, to every route that takes pictures.

    python -m benchmarks.campaigns.pictures [--corpus PATH …] [--damages 30] [--most 100000]

A corpus is a folder or a .tar.gz, such as the source distribution of Pillow or imageio, which carry their test images:

    pip download --no-deps --no-binary pillow pillow

Sound pictures made here must be answered with 200. Files of a corpus may be anything; each is sent to every route, and
then damaged in `--damages` ways at random places, each of which is sent to one route. Prints a table by format and
status, with the slowest answer. Fails on any other status than 200, 413, 415 and 422, on a request without an answer,
on an answer later than 10 s, and if resident memory grew by more than 20 MB in the second half of the damaged ones.
"""

import argparse
import asyncio
import io
import random
import sys
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from benchmarks.campaigns.asking import all_of, ask_once, print_table, request, settled_megabytes
from benchmarks.service import serving

MOST_GROWTH = 20.0
"""Megabytes."""

SLOWEST = 10.0
"""Seconds."""

LARGEST = 20_000_000
"""Bytes of a file of a corpus."""

AT_ONCE = 4
EXPECTED = {200, 413, 415, 422}
ROUTES = (
    "/predict",
    "/convolve?options={%22mask%22:%22sobel_x%22}",
    "/pool?options={}",
    "/feature-maps?layer=conv1&top=1",
    "/explain",
)
SOUND = ("/predict", "/convolve?options={%22mask%22:%22identity%22}")
SAVED: dict[str, list[dict[str, object]]] = {
    "PNG": [{}, {"interlace": 1}, {"compress_level": 0}],
    "JPEG": [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}, {"restart_marker_rows": 1}],
    "WEBP": [{}, {"lossless": True}],
    "GIF": [{}, {"interlace": 0}],
    "BMP": [{}],
    "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"compression": "packbits"}],
    "AVIF": [{}],
}
"""Options of Pillow's for each format that the service reads."""
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")


@dataclass
class Found:
    """What became of the pictures of one format."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0


def generated() -> Iterator[tuple[str, bytes]]:
    """(format, file) for every format, with every option and every mode that it can hold."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    picture = Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)
    for name, options in SAVED.items():
        for mode in MODES:
            for chosen in options:
                file = io.BytesIO()
                try:
                    converted = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
                    converted.save(file, name, **chosen)
                except (OSError, ValueError, KeyError):  # the format has no such mode
                    continue
                yield name, file.getvalue()


def of_corpus(path: Path) -> Iterator[tuple[str, bytes]]:
    """(suffix, file) for every file of a folder or archive that looks like a picture."""
    known = Image.registered_extensions()
    for name, content in _in_folder(path) if path.is_dir() else _in_archive(path):
        if (suffix := Path(name).suffix.lower()) in known and content:
            yield f"corpus {suffix}", content


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for found in sorted(path.rglob("*")):
        if found.is_file() and found.stat().st_size <= LARGEST:
            yield found.name, found.read_bytes()


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.size <= LARGEST and (file := archive.extractfile(member)):
                yield member.name, file.read()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The file with one to four places damaged: bytes changed, zeroed, cut out, doubled, or the end missing."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(max(1, len(data)))
        if chance.random() < 0.5:
            at = min(at, chance.randrange(1, 200))  # headers are where most goes wrong
        length = min(chance.choice([1, 1, 2, 4, 100, 5000]), len(data) - at)
        match chance.randrange(6):
            case 0:
                data[at : at + length] = chance.randbytes(length)
            case 1:
                data[at : at + length] = bytes(length)
            case 2:
                data[at : at + length] = b"\xff" * length
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                del data[max(at, 8) :]
    return bytes(data) or content[:1]  # an empty body is malformed whatever it was to be


def cases(files: list[tuple[str, bytes]], damages: int) -> Iterator[tuple[str, bytes]]:
    """Every file in `damages` damaged forms; the same in each run."""
    chance = random.Random(0)
    for _ in range(damages):
        for name, content in files:
            yield f"{name}, damaged", damaged(content, chance)


class Campaign:
    """Sends pictures to one service and keeps what it answers."""

    def __init__(self, url: str, pid: int) -> None:
        self.found: defaultdict[str, Found] = defaultdict(Found)
        self.faults: list[str] = []
        self._url, self._pid = url, pid

    async def run(
        self, sound: list[tuple[str, bytes]], corpus: list[tuple[str, bytes]], rest: list[tuple[str, bytes]]
    ) -> float:
        """Send everything; returns the megabytes by which memory grew in the second half of `rest`."""
        await all_of([partial(self._send, *one, route, {200}) for one in sound for route in SOUND], AT_ONCE)
        await all_of([partial(self._send, *one, route, EXPECTED) for one in corpus for route in ROUTES], AT_ONCE)
        half = len(rest) // 2
        sends = [
            partial(self._send, *one, ROUTES[number % len(ROUTES)], EXPECTED)  # so each file meets every route
            for number, one in enumerate(rest)
        ]
        await all_of(sends[:half], AT_ONCE)
        before = await settled_megabytes(self._pid)
        await all_of(sends[half:], AT_ONCE)
        return await settled_megabytes(self._pid) - before

    async def _send(self, name: str, content: bytes, route: str, expected: set[int]) -> None:
        headers = {"Content-Type": "image/*", "Accept": "image/png, application/json;q=0.5"}
        status, seconds = await ask_once(self._url, request("POST", route, content, headers))
        found = self.found[name]
        found.statuses[status] += 1
        found.slowest = max(found.slowest, seconds)
        if status not in expected or seconds > SLOWEST:
            self.faults.append(f"{route}: {name}, {len(content)} bytes {content[:24]!r}: {status} in {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, nargs="*", default=[], help="folders and .tar.gz files")
    parser.add_argument("--damages", type=int, default=30, help="damaged forms of each file")
    parser.add_argument("--most", type=int, default=100_000, help="the most damaged pictures to send")
    options = parser.parse_args()
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    sound = list(generated())
    corpus = [one for path in options.corpus for one in of_corpus(path)]
    rest = list(cases(sound + corpus, options.damages))
    chance = random.Random(1)
    rest = chance.sample(rest, options.most) if len(rest) > options.most else rest
    with serving(CONVOSCOPE_DEFAULT_MODEL="tutorial", CONVOSCOPE_CLIENT_SHARE="1") as (_, pid, client):
        campaign = Campaign(str(client.base_url), pid)
        grown = asyncio.run(campaign.run(sound, corpus, rest))
    statuses = sorted({status for found in campaign.found.values() for status in found.statuses})
    rows = [
        [name, *[f.statuses[s] or "" for s in statuses], f"{f.slowest:.1f} s"] for name, f in campaign.found.items()
    ]
    print_table(["pictures", *statuses, "slowest"], rows)
    for fault in campaign.faults:
        print(fault)
    total = sum(found.statuses.total() for found in campaign.found.values())
    print(f"{total} pictures, {len(campaign.faults)} faults, resident memory {grown:+.1f} MB")
    sys.exit(bool(campaign.faults) or grown > MOST_GROWTH)


if __name__ == "__main__":
    main()
