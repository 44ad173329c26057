"""FastAPI with Keras `predict` in the handler: what a reader of the tutorial writes."""

import argparse

import keras
import uvicorn
from fastapi import Body, FastAPI

import training.models  # noqa: F401  (what the file refers to is registered there)
from benchmarks.peers.common import MODEL, Answer, Answers, decode

app = FastAPI()
trained = keras.models.load_model(MODEL / "model.keras")
network = keras.Model(trained.input, trained.get_layer("logits").output)
answers = Answers()


@app.post("/predict")
def predict(picture: bytes = Body(media_type="image/png")) -> Answer:
    return answers(network.predict(decode(picture)[None], verbose=0))[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning", access_log=False)
