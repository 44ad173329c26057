"""The least a Python event loop can do for a prediction: Convoscope's decoding, batcher and engine, and no service.

uvloop and httptools, as uvicorn uses them, and nothing else: no route, limit, deadline, metric, id or refusal. What
Convoscope takes beyond it is what these cost.
"""

import argparse
import asyncio

import httptools
import uvloop

from app.deadline import Deadline
from app.imaging import thumbnail
from app.inference.artifact import Place, read
from app.inference.batcher import Answer
from app.inference.network import Network
from app.inference.prediction import Scores, document
from app.settings import Settings
from benchmarks.peers import ROOT


class Connection(asyncio.Protocol):
    """Takes every request for a picture to predict; one that leaves early is not looked after."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        self.network.submit(
            [thumbnail(body, self.network.metadata.input)], Deadline(60), lambda: False
        ).add_done_callback(self.answer)

    def answer(self, submitted: "asyncio.Future[Answer[Scores]]") -> None:
        content = document(self.network.metadata, submitted.result().results, 3)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
        if not self.transport.is_closing():
            self.transport.write(head + content)


async def main(port: int) -> None:
    settings = Settings(models=ROOT / "models")
    network = Network(read(settings.models, Place("fast")), settings)
    await network.prepare()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(network), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    uvloop.run(main(parser.parse_args().port))
