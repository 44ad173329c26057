"""FastAPI with the engine in the handler: a thread of the pool a request, an inference on each core."""

import argparse

import uvicorn
from fastapi import Body, FastAPI

from benchmarks.peers.common import CORES, Answer, Classifier, decode

app = FastAPI()
classify = Classifier(streams=CORES)


@app.post("/predict")
def predict(picture: bytes = Body(media_type="image/png")) -> Answer:
    return classify([decode(picture)])[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning", access_log=False)
