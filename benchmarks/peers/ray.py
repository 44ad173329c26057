"""Ray Serve: HAProxy and the throughput-optimized mode, and a replica with `@serve.batch` for at most 2 ms."""

import argparse
import asyncio

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.common import MAX_BATCH, Answer, Classifier, decode


@serve.deployment(max_ongoing_requests=8 * MAX_BATCH)
class Predict:
    def __init__(self) -> None:
        self.classify = Classifier()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.002)
    async def classified(self, bodies: list[bytes]) -> list[Answer]:
        return await asyncio.to_thread(lambda: self.classify([decode(body) for body in bodies]))

    async def __call__(self, request: Request) -> Answer:
        answer: Answer = await self.classified(await request.body())
        return answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    ray.init(include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": parser.parse_args().port})
    serve.run(
        Predict.bind(),  # type: ignore[attr-defined]
        route_prefix="/predict",
        blocking=True,
    )
