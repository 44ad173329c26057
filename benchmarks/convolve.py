"""What /convolve costs against the least that its work can cost, and what it costs others.

    python -m benchmarks.convolve

Prints ratios of medians, measured in alternating rounds within this run: of requests over HTTP to reading the same JSON
with orjson, convolving it with OpenCV and writing it with orjson; of a 12-megapixel picture to OpenCV's filter2D alone;
the peak of memory; and how /healthz and /predict fare while a large picture is convolved over and over.
"""

import http.client
import io
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from app.convolution.convolve import planned
from benchmarks.peers.load import wrk
from benchmarks.peers.server import FROG
from benchmarks.service import ROOT, serving

ROUNDS = 15
SIZE = 512


def medians(ways: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds of each way, in alternating rounds after a first one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def floor(body: bytes) -> bytes:
    """JSON in, numpy, OpenCV, JSON out; no checks, no web."""
    document = orjson.loads(body)
    x, mask = np.array(document["input"], np.float64), np.array(document["mask"], np.float64)
    output = cv2.filter2D(x, -1, np.ascontiguousarray(mask[::-1, ::-1]), borderType=cv2.BORDER_CONSTANT)
    return orjson.dumps({"output": output}, option=orjson.OPT_SERIALIZE_NUMPY)


def arrays(client: httpx.Client) -> None:
    """512 x 512 float64 under three masks, over HTTP, against `floor`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SIZE, SIZE))
    address = urlsplit(str(client.base_url))
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port)

    def ask(body: bytes) -> bytes:
        connection.request("POST", "/convolve", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer
        return answer

    print(f"{f'{SIZE} x {SIZE} float64, JSON both ways':42} {'floor':>9} {'HTTP':>9}   ratio (target 1.5)")
    for side in (3, 15, 31):
        fields = {"input": x, "mask": rng.normal(size=(side, side))}
        body = orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
        expected, found = (np.array(orjson.loads(way(body))["output"]) for way in (floor, ask))
        assert np.allclose(found, expected, rtol=1e-9, atol=1e-9)

        def bare(body: bytes = body) -> bytes:
            return floor(body)

        def served(body: bytes = body) -> bytes:
            return ask(body)

        took = medians({"floor": bare, "HTTP": served})
        print(
            f"  mask {f'{side} x {side}':35} {took['floor']:6.1f} ms {took['HTTP']:6.1f} ms"
            f"   {took['HTTP'] / took['floor']:.2f}"
        )


def picture(megapixels: NDArray[np.uint8], mask: NDArray[np.float64]) -> None:
    """Convolving a decoded picture, against OpenCV's filter2D to the same float32 numbers."""
    flipped = np.ascontiguousarray(mask[::-1, ::-1])

    def ours() -> NDArray[np.float32]:
        return np.asarray(planned(megapixels, mask).rows())

    def opencv() -> NDArray[np.float32]:
        return np.asarray(cv2.filter2D(megapixels, cv2.CV_32F, flipped, borderType=cv2.BORDER_CONSTANT))

    assert np.allclose(ours(), opencv(), atol=1e-2)
    took = medians({"filter2D": opencv, "ours": ours})
    name = "12-megapixel picture, mask 3 x 3"
    print(f"\n{name:42} {'filter2D':>9} {'ours':>9}   ratio (target 1.3)")
    print(f"{'':42} {took['filter2D']:6.1f} ms {took['ours']:6.1f} ms   {took['ours'] / took['filter2D']:.2f}")


MEMORY = """
import re, sys
from pathlib import Path
import numpy as np
from app.imaging import render
from app.convolution.convolve import planned

def megabytes(field):
    return int(re.search(field + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6

values = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
if sys.argv[1] == "array":
    values = values[..., 0].astype(np.float64)
planned(values[:64, :64], np.ones((3, 3))).rows()
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = megabytes("VmRSS")
convolution = planned(values, np.ones((3, 3)))
if sys.argv[1] == "array":
    output = convolution.rows()
else:
    output, _ = render.display(convolution.shape, convolution.tiles, "clamp")
used = megabytes("VmHWM") - before + values.nbytes / 1e6
print(used / ((values.nbytes + output.nbytes) / 1e6))
"""


def memory() -> None:
    """The peak of memory, the input with it, against input plus output, each in a process of its own."""
    print(f"\n{'memory at its peak / (input + output)':42} {'':9} {'':9}   ratio (target 4)")
    for kind in ("picture", "array"):
        found = subprocess.run(
            [sys.executable, "-c", MEMORY, kind], cwd=ROOT, capture_output=True, text=True, check=True
        )
        print(f"  12 million pixels, {kind:56} {float(found.stdout):.2f}")


def neighbours(client: httpx.Client, megapixels: NDArray[np.uint8]) -> None:
    """How long /healthz takes and how many predictions a second are left while large pictures are convolved."""
    file = io.BytesIO()
    Image.fromarray(megapixels).save(file, "BMP")  # decoded at once, so that the time goes into convolving
    fields = {"mask": np.ones((7, 7)) / 49, "stride": 4}  # a small answer, so that it is not about sending it either
    options = orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    busy = threading.Event()

    def convolve() -> None:
        headers = {"Content-Type": "image/bmp", "Accept": "application/x-npy"}
        with httpx.Client(base_url=client.base_url, timeout=60) as other:
            while busy.is_set():
                answer = other.post("/convolve", content=file.getvalue(), params={"options": options}, headers=headers)
                answer.raise_for_status()

    def slowest(seconds: float = 4.0) -> float:
        stop, took = time.perf_counter() + seconds, []
        while time.perf_counter() < stop:
            started = time.perf_counter()
            client.get("/healthz").raise_for_status()
            took.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.01)
        return max(took)

    rates: dict[str, list[float]] = {"alone": [], "beside": []}
    worst = 0.0
    for _ in range(3):
        rates["alone"].append(predictions_a_second(str(client.base_url)))
        busy.set()
        convolver = threading.Thread(target=convolve)
        convolver.start()
        rates["beside"].append(predictions_a_second(str(client.base_url)))
        worst = max(worst, slowest())
        busy.clear()
        convolver.join()
    alone, beside = statistics.median(rates["alone"]), statistics.median(rates["beside"])
    print("\nwhile 12-megapixel pictures are convolved one after the other")
    print(f"  {'/healthz, slowest answer':40} {worst:29.0f} ms (target 50)")
    print(f"  {'/predict, share of its rate when alone':40} {beside / alone:29.2f} (target 0.50)")


def predictions_a_second(url: str) -> float:
    """What wrk gets out of /predict with one 32x32 PNG a request on 8 connections."""
    found = wrk(f"{url.rstrip('/')}/predict?model=fast", FROG.read_bytes(), "image/png", 8, 4)
    assert not found.failed, found
    return found.rate


def main() -> None:
    rng = np.random.default_rng(0)
    megapixels = rng.integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    with serving() as (_, _, client):
        arrays(client)
        picture(megapixels, rng.normal(size=(3, 3)))
        memory()
        if shutil.which("wrk"):
            neighbours(client, megapixels)
        else:
            print("\nhow others fare is not measured: wrk, the load generator, is not installed")


if __name__ == "__main__":
    main()
