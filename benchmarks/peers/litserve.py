"""LitServe: FastAPI in one process, a queue, and a worker that gathers batches for at most 2 ms."""

import argparse
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from benchmarks.peers.common import MAX_BATCH, Answer, Classifier, decode


async def raw(request: Request) -> bytes:
    return await request.body()


class Predict(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classify = Classifier()

    def decode_request(self, request: Annotated[bytes, Depends(raw)]) -> NDArray[np.uint8]:
        return decode(request)

    def batch(self, inputs: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        return inputs

    def predict(self, x: list[NDArray[np.uint8]]) -> list[Answer]:
        return self.classify(x)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        return output

    def encode_response(self, output: Answer) -> Any:
        return output


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    api = Predict(max_batch_size=MAX_BATCH, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=parser.parse_args().port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
