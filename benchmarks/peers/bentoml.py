"""BentoML: its adaptive batching, on a form with one picture, as its batchable services take lists of files.

One service, one process. Two as its manual composes them (one that takes a raw PNG, one behind it that batches) pass
every picture over a socket between them, which is slower.
"""

import os
import sys

import bentoml
import numpy as np
from PIL import Image

from benchmarks.peers.common import MAX_BATCH, Answer, Classifier

MODULE = "benchmarks.peers.bentoml"


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Predict:
    def __init__(self) -> None:
        self.classify = Classifier()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=1000)
    def predict(self, pictures: list[Image.Image]) -> list[Answer]:
        return self.classify([np.asarray(picture.convert("RGB")) for picture in pictures])


if __name__ == "__main__":
    command = ["-m", "bentoml", "serve", f"{MODULE}:Predict", "--host", "127.0.0.1", *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, *command])
