"""A film of a training: the tutorial's network after each epoch, without and with what keeps it from overfitting.

`convoscope film` trains it on few pictures, so that it overfits within minutes, and writes one small file that the
course plays. A finished run is not repeated, an interrupted one goes on. On one thread (`--threads 1`) the file is the
same every time.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import app
from training import lineage, run
from training.data import LABELS, Pictures
from training.recipe import Recipe, TutorialRecipe
from training.release.calibrate import softmax
from training.train import measure, train
from training.trial import changed, differences

STATIC = Path(app.__file__).parent / "static"
FILM = STATIC / "film" / "tutorial.json"
"""Where the course looks for it."""

PICTURES, VALIDATION = 3000, 2000
"""Training pictures, so few that the network can learn them by heart; and those that it never sees."""

FILTERS = 4
"""Filters of the second convolution whose weights are kept, those whose maps vary most by the end."""

TUTORIAL = lineage.find("tutorial")
BASE = changed(
    TUTORIAL,
    {
        "name": "nothing",
        "epochs": 11,
        "batch_size": 60,
        "optimizer.learning_rate": 0.03,
        "optimizer.momentum": 0.9,
        "network.dropout": 0,
        "selection.restore_best": False,
    },
)

RUNS: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "dropout": {"network.dropout": (0.2, 0.5)},
    "weight decay": {"optimizer.weight_decay": 0.1},
}
"""By what the course calls each run: the fields in which its recipe differs from `BASE`."""

STOPPING = {"selection.monitor": "val_loss", "selection.patience": 2, "selection.restore_best": True}
"""Early stopping needs no run of its own: it is where one of these would have ended."""


class Frame(NamedTuple):
    """A network after an epoch: losses in nats and accuracies in [0, 1] on pictures as they are, `answers` (10, 10).

    `answers` are the probabilities of each label for each sample; kernels are (rows, columns, channels in, filters).
    """

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    answers: NDArray[np.floating]
    kernel1: NDArray[np.float32]
    bias1: NDArray[np.float32]
    kernel2: NDArray[np.float32]
    bias2: NDArray[np.float32]


class Camera:
    """Writes a frame of each epoch into a folder, as `watch` of a training."""

    def __init__(self, folder: Path, training: Pictures, validation: Pictures, samples: NDArray[np.uint8]) -> None:
        self.folder, self.training, self.validation, self.samples = folder, training, validation, samples

    def __call__(self, epoch: int, network: keras.Model) -> None:
        frame = Frame(
            *measure(network, self.training),
            *measure(network, self.validation),
            softmax(network.predict(self.samples, verbose=0)),
            *network.get_layer("conv1").get_weights(),
            *network.get_layer("conv2").get_weights(),
        )
        run.replace_file(self._path(epoch), lambda file: np.savez(file, **frame._asdict()))

    def frames(self, epochs: int) -> list[Frame]:
        """What was written before the first of so many epochs and after each. Raises OSError."""
        found = []
        for epoch in range(epochs + 1):
            with self._path(epoch).open("rb") as opened, np.load(opened) as file:
                found.append(Frame(**{name: file[name] for name in Frame._fields}))
        return found

    def _path(self, epoch: int) -> Path:
        return self.folder / f"frame-{epoch:03}.npz"


def shoot(base: Recipe, training: Pictures, validation: Pictures, folder: Path) -> dict[str, Any]:
    """Train every run in `folder`, or go on there; gives the film. Raises as `train`."""
    training = Pictures(training.images[:PICTURES], training.labels[:PICTURES])
    validation = Pictures(validation.images[:VALIDATION], validation.labels[:VALIDATION])
    samples = sample_pictures()
    runs = {}
    for name, fields in RUNS.items():
        print(f"{name}:", flush=True)
        recipe = changed(base, {"name": name.replace(" ", "-"), **fields})
        camera = Camera(folder / recipe.name, training, validation, samples)
        train(recipe, training, validation, camera.folder, watch=camera)
        runs[name] = cut(recipe, camera.frames(recipe.epochs), samples) | {"settings": differences(recipe, base)}
    return {
        "network": "tutorial",
        "settings": differences(base, TUTORIAL),
        "pictures": {"training": len(training.labels), "validation": len(validation.labels)},
        "labels": LABELS,
        "layers": [
            {"name": name, "padding": padding} for name, padding in zip(("conv1", "conv2"), paddings(base), strict=True)
        ],
        "runs": runs,
    }


def sample_pictures() -> NDArray[np.uint8]:
    """The course's samples (10, 32, 32, 3), of CIFAR-10's test set, in the order of the labels."""
    return np.stack([np.asarray(Image.open(STATIC / "pictures" / f"{label}.png").convert("RGB")) for label in LABELS])


def cut(recipe: Recipe, frames: Sequence[Frame], samples: NDArray[np.uint8]) -> dict[str, Any]:
    """A run as the film has it: figures of each epoch, early stopping, and the weights in eight bits.

    `weights` are, frame after frame, both layers' kernels (flat, filters last) and biases, each tensor as int8 times
    its number in the frame's `scales`, in base64; of the second convolution only the `filters` are kept.
    """
    filters = lively(frames[-1], paddings(recipe), samples)
    tensors = [(frame.kernel1, frame.bias1, frame.kernel2[..., filters], frame.bias2[filters]) for frame in frames]
    packed = [[in_eight_bits(values) for values in frame] for frame in tensors]
    weights = b"".join(values.tobytes() for frame in packed for values, _ in frame)
    return {
        "epochs": [
            {
                "loss": round(float(frame.loss), 4),
                "accuracy": round(float(frame.accuracy), 4),
                "val_loss": round(float(frame.val_loss), 4),
                "val_accuracy": round(float(frame.val_accuracy), 4),
                "answers": np.rint(1000 * frame.answers).astype(int).tolist(),
                "scales": [float(f"{scale:.6g}") for _, scale in values],
            }
            for frame, values in zip(frames, packed, strict=True)
        ],
        "stopping": stopping(recipe, frames),
        "filters": filters,
        "shapes": [list(values.shape) for values in tensors[0]],
        "weights": base64.b64encode(weights).decode(),
    }


def paddings(recipe: Recipe) -> tuple[str, str]:
    """Of both convolutions."""
    assert isinstance(recipe, TutorialRecipe)
    return recipe.network.padding


def lively(frame: Frame, padding: tuple[str, str], samples: NDArray[np.uint8]) -> list[int]:
    """The `FILTERS` filters of the second convolution whose maps of the samples vary most."""
    maps = keras.ops.convert_to_tensor(samples.astype(np.float32) / 255)
    for kernel, bias, around in zip((frame.kernel1, frame.kernel2), (frame.bias1, frame.bias2), padding, strict=True):
        maps = keras.ops.relu(keras.ops.conv(maps, kernel, padding=around) + bias)
    variation = np.std(keras.ops.convert_to_numpy(maps), axis=(0, 1, 2))
    return sorted(int(i) for i in np.argsort(variation)[::-1][:FILTERS])


def in_eight_bits(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], float]:
    """The values as whole numbers from -127 to 127, and the factor that turns these back into values."""
    scale = float(np.max(np.abs(values))) / 127 or 1.0
    return np.rint(values / scale).astype(np.int8), scale


def stopping(recipe: Recipe, frames: Sequence[Frame]) -> dict[str, int]:
    """After which epoch early stopping would have `stopped` the run, and which epoch's weights it would have `kept`."""
    stops = changed(recipe, STOPPING)
    history: list[dict[str, float]] = []
    for frame in frames[1:]:
        history.append({"val_loss": float(frame.val_loss), "val_accuracy": float(frame.val_accuracy)})
        if run.is_over(stops, history):
            break
    return {"stopped": len(history), "kept": run.best_epoch(stops, history)}


def write(film: Mapping[str, Any], path: Path) -> None:
    """Write the film, one run to a line. Raises CheckpointError."""
    text = json.dumps(film, separators=(",", ":")).replace('{"epochs"', '\n{"epochs"') + "\n"
    run.replace_file(path, lambda file: file.write(text.encode()))
