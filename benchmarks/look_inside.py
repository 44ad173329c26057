"""What looking inside costs: feature maps, occlusion, and what /predict pays for them (nothing).

    python -m benchmarks.look_inside

Prints ratios of medians from alternating rounds within this run, with `fast` served.
"""

import io

import httpx
import numpy as np
import orjson

from app.inference.artifact import Place, read
from app.inference.engine import Engine, supported_precision
from app.interpret.sheets import Chosen
from app.routes import feature_maps
from app.settings import Settings
from app.wire import json, media_types
from benchmarks.convolve import medians
from benchmarks.service import ROOT, resident_megabytes, serving

FROG = (ROOT / "tests" / "pictures" / "frog.png").read_bytes()


def post(client: httpx.Client, path: str, accept: str = "application/json", **params: object) -> httpx.Response:
    headers = {"Content-Type": "image/png", "Accept": accept}
    answer = client.post(path, content=FROG, headers=headers, params={"model": "fast", **params})  # type: ignore[dict-item]
    return answer.raise_for_status()


def line(name: str, ratio: float, target: str, times: str = "") -> None:
    print(f"{name:74} {times:>20} {ratio:6.2f}  ({target})")


def main() -> None:
    settings = Settings()
    artifact = read(settings.models, Place("fast"))
    precision = supported_precision(settings.precision, artifact.metadata.precision.exact)
    engine = Engine(artifact.graph(precision), precision=precision)
    views = list(np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8))
    with serving() as (_, pid, client):
        alone = medians({"predict": lambda: post(client, "/predict")}, 300)["predict"]
        before = resident_megabytes(pid)
        file = io.BytesIO(post(client, "/feature-maps", media_types.NPZ).content)
        with np.load(file) as arrays:
            outputs = dict(arrays)
        took = medians(
            {
                "predict": lambda: post(client, "/predict"),
                "npz": lambda: post(client, "/feature-maps", media_types.NPZ),
            },
            300,
        )
        times = f"{took['npz']:.2f} / {took['predict']:.2f} ms"
        line(
            "every convolution's maps as npz, to one prediction, over HTTP",
            took["npz"] / took["predict"],
            "at most 3",
            times,
        )
        layers = {layer.name: layer for layer in artifact.metadata.layers}
        chosen = [Chosen(layers[name], values, list(range(values.shape[-1]))) for name, values in outputs.items()]
        took = medians(
            {
                "orjson": lambda: orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY),
                "ours": lambda: json.encode(feature_maps.document(artifact.metadata, chosen, 4)),
            },
            30,
        )
        times = f"{took['orjson']:.1f} / {took['ours']:.1f} ms"
        line(
            "the same as JSON: orjson on the bare arrays, to all of ours",
            took["orjson"] / took["ours"],
            "at least 0.6",
            times,
        )

        def bare() -> None:
            engine.logits(views[:32])
            engine.logits(views[32:])

        took = medians({"engine": bare, "explain": lambda: post(client, "/explain", method="occlusion", grid=8)}, 60)
        times = f"{took['explain']:.1f} / {took['engine']:.1f} ms"
        line(
            "an occlusion map of 64 views over HTTP, to the engine alone",
            took["explain"] / took["engine"],
            "at most 1.5",
            times,
        )
        after = medians({"predict": lambda: post(client, "/predict")}, 300)["predict"]
        times = f"{after:.2f} / {alone:.2f} ms"
        line("a prediction after all this, to one before", after / alone, "about 1", times)
        name = "resident memory before anybody looks inside, and after"
        print(f"{name:74} {before:11.0f} MB {resident_megabytes(pid):6.0f} MB")


if __name__ == "__main__":
    main()
