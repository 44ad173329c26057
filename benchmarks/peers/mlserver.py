"""MLServer: adaptive batching for at most 2 ms behind a custom handler, which spares it the JSON of its protocol.

All in one process: its batches go to a thread, and its parallel workers would take each request's own way past them.
"""

import argparse
import asyncio
import json
import socket

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.context import model_context
from mlserver.handlers import custom_handler
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.common import MAX_BATCH, Answer, Classifier, decode


class Predict(MLModel):
    async def load(self) -> bool:
        self.classify = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = await asyncio.to_thread(self._classified, list(payload.inputs[0].data))
        data = [json.dumps(answer) for answer in found]
        output = ResponseOutput(name="answers", shape=[len(data)], datatype="BYTES", data=data)
        return InferenceResponse(model_name=self.name, outputs=[output])

    @custom_handler(rest_path="/predict")
    async def post(self, request: Request) -> Response:
        body = await request.body()
        picture = RequestInput(name="picture", shape=[1], datatype="BYTES", data=[body])
        with model_context(self.settings):
            answer = await self.predict(InferenceRequest(inputs=[picture]))
        return Response(answer.outputs[0].data[0], media_type="application/json")

    def _classified(self, bodies: list[bytes]) -> list[Answer]:
        return self.classify([decode(body) for body in bodies])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=parser.parse_args().port,
        grpc_port=free_port(),
        metrics_endpoint=None,
        parallel_workers=0,
        gzip_enabled=False,
    )
    model = ModelSettings(
        name="fast",
        implementation=Predict,
        parameters=ModelParameters(),
        max_batch_size=MAX_BATCH,
        max_batch_time=0.002,
    )
    asyncio.run(MLServer(settings).start([model]))
