"""How far int8 is from float32 where it cuts off a share of what a layer is given at either end.

    python -m benchmarks.outliers [NAME] [--shares 0 1e-5 1e-4 1e-3] [--validation N]

Reads the artifact and changes nothing. `training/release/eight_bits.py` has the share that was chosen by it, OUTLIERS.
"""

import argparse
import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import openvino as ov

from training import data
from training.data import Pictures
from training.release import artifact, export, precision, writer
from training.release.card import table

MODELS = Path(__file__).parent.parent / "models"


def compare(folder: Path, shares: list[float], training: Pictures, validation: Pictures) -> str:
    """A table of what int8 with each share of outliers cut off does to the validation pictures."""
    core, model = ov.Core(), keras.models.load_model(folder / artifact.CHECKPOINT)
    exact = precision.logits(precision.compiled(core, folder / "model.onnx", "float32"), validation.images)
    rows = []
    for share in shares:
        ranges = export.input_ranges(model, training.images[: writer.CALIBRATING], share)
        with tempfile.TemporaryDirectory() as place:
            graph = Path(place) / "model.int8.onnx"
            graph.write_bytes(export.to_onnx(model, ranges=ranges).SerializeToString())
            found = precision.logits(precision.compiled(core, graph, "int8"), validation.images)
        right = np.mean(found.argmax(axis=1) == validation.labels)
        others = np.sum(found.argmax(axis=1) != exact.argmax(axis=1))
        rows.append((f"{share:g}", f"{right:.2%}", f"{np.mean((found - exact) ** 2):.6f}", str(others)))
    header = ("outliers", "validation", "mean square error of the logits", f"other labels of {len(exact):,}")
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="fast")
    parser.add_argument("--shares", type=float, nargs="+", metavar="SHARE", default=[0, 1e-5, 1e-4, 1e-3])
    parser.add_argument("--validation", type=int, metavar="N", help="the last so many of those held out (default: all)")
    options = parser.parse_args()
    folder = MODELS / options.name
    size = json.loads((folder / "metadata.json").read_text())["data"]["validation"]
    if options.validation and not 0 < options.validation <= size:
        parser.error(f"--validation is {options.validation}; expected 1 to {size}, what {options.name} held out")
    training, validation = data.split(data.load_training(data.find(None)), validation=options.validation or size)
    print(compare(folder, options.shares, training, validation))


if __name__ == "__main__":
    main()
