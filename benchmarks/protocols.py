"""What `infer` of the Open Inference Protocol costs beside /predict.

    python -m benchmarks.protocols [--model fast] [--connections 32] [--rounds 5] [--seconds 3]

Posts one picture of uint8 pixels a request, in alternating rounds: to /predict as npy, and to `infer` as tritonclient
sends it, a binary tensor with a binary answer. Prints the medians of the rates and of the event loop's processor time
a request, and their ratios; at least 0.9 is wanted. The processor time also holds on a machine that does other work.
"""

import argparse
import io
import json
import statistics
from collections.abc import Mapping

import numpy as np

from benchmarks.peers import CONVOSCOPE
from benchmarks.peers.load import wrk
from benchmarks.peers.server import Server
from benchmarks.where_time_goes import thread_seconds

PICTURE = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
Sent = tuple[str, bytes, str, Mapping[str, str]]
"""Path, body, media type and headers."""


def predict(model: str) -> Sent:
    """One picture to /predict, as npy."""
    file = io.BytesIO()
    np.save(file, PICTURE)
    return f"/predict?model={model}", file.getvalue(), "application/x-npy", {}


def infer(model: str) -> Sent:
    """The same picture as tritonclient sends it by default."""
    tensor = {
        "name": "image",
        "shape": PICTURE.shape,
        "datatype": "UINT8",
        "parameters": {"binary_data_size": PICTURE.nbytes},
    }
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    head = json.dumps(document, separators=(",", ":")).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return f"/v2/models/{model}/infer", head + PICTURE.tobytes(), "application/octet-stream", headers


def measure(server: Server, sent: Sent, connections: int, seconds: float) -> tuple[float, float]:
    """Requests a second, and the event loop's microseconds a request. Raises RuntimeError where a request fails."""
    path, body, kind, headers = sent
    before = thread_seconds(server.pid)[server.pid]
    found = wrk(server.url + path, body, kind, connections, seconds, headers=headers)
    if found.failed or found.refused or not found.served:
        counts = f"{found.served} requests answered, {found.refused} refused, {found.failed} failed"
        raise RuntimeError(f"{path}: {counts}; expected answers only")
    return found.rate, (thread_seconds(server.pid)[server.pid] - before) / found.served * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    options = parser.parse_args()
    requests = predict(options.model), infer(options.model)
    found: tuple[list[tuple[float, float]], ...] = [], []
    with Server(CONVOSCOPE) as server:
        for number in range(options.rounds + 1):  # the first one warms up
            for sent, rounds in zip(requests, found, strict=True):
                measured = measure(server, sent, options.connections, options.seconds)
                rounds += [measured] if number else []
    rates, loops = zip(*(map(statistics.median, zip(*rounds, strict=True)) for rounds in found), strict=True)
    print(f"{options.model}, {options.connections} connections, {options.rounds} rounds of {options.seconds:g} s each")
    print(f"{'':22}{'/predict, npy':>14}{'infer, binary':>14}{'ratio':>8}")
    print(f"{'requests/s':22}{rates[0]:14.0f}{rates[1]:14.0f}{rates[1] / rates[0]:8.2f}")
    print(f"{'event loop, us/request':22}{loops[0]:14.1f}{loops[1]:14.1f}{loops[0] / loops[1]:8.2f}")


if __name__ == "__main__":
    main()
