"""mosec: a server in Rust in front of a Python process that decodes and infers whole batches.

One process with all cores answered more than one a core. Its shortest wait for a batch is 1 ms; there is no 0.
"""

from collections.abc import Sequence

from mosec import Server, Worker

from benchmarks.peers.common import MAX_BATCH, Answer, Classifier, decode


class Predict(Worker):
    def __init__(self) -> None:
        self.classify = Classifier()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: Sequence[bytes]) -> list[Answer]:
        return self.classify([decode(body) for body in data])


if __name__ == "__main__":
    server = Server()
    server.append_worker(Predict, max_batch_size=MAX_BATCH, max_wait_time=1, route="/predict")
    server.run()
