"""What one service costs: time until ready, memory, and the time of one request when nothing else is going on.

    python -m benchmarks.footprint [--model fast]

Starts `convoscope serve` several times and prints a table of medians. Absolute times are this machine's.
"""

import argparse
import io
import re
import statistics
import time

import httpx
import numpy as np
from PIL import Image

from benchmarks.service import ROOT, resident_megabytes, serving

SMALL = ROOT / "tests" / "pictures" / "frog.png"


def timings(client: httpx.Client, content: bytes, kind: str, times: int) -> dict[str, float]:
    """Median milliseconds of each step in Server-Timing, the total among them, and of the round trip."""
    rows: dict[str, list[float]] = {}
    for _ in range(times):
        started = time.perf_counter()
        response = client.post("/predict", content=content, headers={"Content-Type": kind})
        rows.setdefault("round trip", []).append((time.perf_counter() - started) * 1e3)
        response.raise_for_status()
        steps = {
            name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", response.headers["server-timing"])
        }
        for name, value in steps.items():
            rows.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in rows.items()}


def photograph(width: int, height: int) -> bytes:
    """A JPEG as large and about as detailed as a camera's."""
    rng = np.random.default_rng(0)
    with Image.open(SMALL) as small:
        large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = (large + rng.integers(-12, 13, large.shape, dtype=np.int16)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast", help="the network that is used (default: %(default)s)")
    used = parser.parse_args().model
    ready, memory = [], []
    for _ in range(5):
        with serving(CONVOSCOPE_DEFAULT_MODEL=used) as (seconds, pid, _):
            ready.append(seconds)
            memory.append(resident_megabytes(pid))
    print(f"{'ready after process start':42} {statistics.median(ready):8.2f} s")
    print(f"{'resident memory at the start':42} {statistics.median(memory):8.0f} MB")
    camera = photograph(4000, 3000)
    with serving(CONVOSCOPE_DEFAULT_MODEL=used) as (_, pid, client):
        small = timings(client, SMALL.read_bytes(), "image/png", 500)
        large = timings(client, camera, "image/jpeg", 20)
        for name, row in (("32x32 PNG", small), (f"12-megapixel JPEG of {len(camera) / 1e6:.1f} MB", large)):
            print(f"\n{name}, one caller")
            for step, milliseconds in row.items():
                print(f"  {step:40} {milliseconds:8.2f} ms")
        print(f"\n{'resident memory afterwards':42} {resident_megabytes(pid):8.0f} MB")


if __name__ == "__main__":
    main()
