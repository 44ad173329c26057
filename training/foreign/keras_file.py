"""A Keras file (.keras): looked through before anything in it is built, then written as ONNX layer by layer."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.foreign.layer_names import free_names
from training.foreign.network import LARGEST, SIDES, Foreign, Images, ImportFailure, Layout, Preprocessing
from training.release import export
from training.release.calibrate import softmax
from training.release.export import ExportError
from training.release.layer_table import input_names, layer_table

LARGEST_CONFIG = 50_000_000
UNSAFE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__", "function")
"""Classes that run code which a file brings along or names."""

TRUSTED = re.compile(r"(keras|builtins|training\.models)(\.|$)")


def read(path: Path, labels: int, preprocessing: Preprocessing, layout: Layout | None) -> Foreign:
    """The network in the file, for so many labels. Raises ImportFailure."""
    _look_through(path)
    model = _loaded(path)
    size, channels = _shape(path, model, labels, layout)
    ends = _ending(path, model)
    ours = _with_preprocessing(path, model, ends, size, channels, preprocessing)
    try:
        proto = export.to_onnx(ours, half=False)
    except ExportError as error:
        raise ImportFailure(f"{path}: {error}") from error

    original = _Original(model, ends == "logits", preprocessing.factors(channels))
    return Foreign(proto, layer_table(ours), size, channels, "nhwc", original)


def _look_through(path: Path) -> None:
    """Reject what would run code or read other files, before Keras builds anything. Raises ImportFailure."""
    try:
        if path.stat().st_size > LARGEST:
            raise ImportFailure(f"{path}: {path.stat().st_size:,} bytes; expected at most {LARGEST:,}")
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo("config.json").file_size
            if size > LARGEST_CONFIG or sum(entry.file_size for entry in archive.infolist()) > 2 * LARGEST:
                raise ImportFailure(f"{path}: too large once it is unpacked; expected a network")
            config = json.loads(archive.read("config.json"))
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be read ({error.strerror})") from error
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise ImportFailure(f"{path}: not a .keras file ({error})") from error
    for entry in _objects(config):
        kind, module = entry.get("class_name"), entry.get("module")
        inner = entry.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
        where = f"the layer {name!r}" if name else "an object"
        if kind in UNSAFE:
            raise ImportFailure(f"{path}: {where} is a {kind}, which runs code of its own; expected Keras' own layers")
        if module is not None and not TRUSTED.match(str(module)):
            raise ImportFailure(
                f"{path}: {where} is a {kind} of the Python module {module!r:.80}; expected Keras' own layers"
            )
        if kind in ("Functional", "Sequential") and entry is not config:
            raise ImportFailure(f"{path}: {where} is a model within the model ({kind}); expected layers only")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every serialized object in a config."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _loaded(path: Path) -> keras.Model:
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises very nearly anything
        raise ImportFailure(f"{path}: Keras cannot load it ({_line(error)})") from error
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise ImportFailure(f"{path}: does not say its input's shape; expected (batch, side, side, channels)")
        model = keras.Model(model.inputs, model.outputs)
    if not hasattr(model, "inputs") or type(model).__name__ != "Functional":
        raise ImportFailure(
            f"{path}: a {type(model).__name__}, a Python class; expected a functional or sequential model"
        )
    return model


def _shape(path: Path, model: keras.Model, labels: int, layout: Layout | None) -> tuple[int, int]:
    """The pixels along each side, and the channels."""
    if len(model.inputs) != 1:
        found = ", ".join(repr(tensor.name) for tensor in model.inputs)
        raise ImportFailure(f"{path}: the inputs are {found}; expected one, a batch of pictures")
    if layout == "nchw":
        raise ImportFailure(f"{path}: --layout is nchw; Keras files are read with channels last (nhwc)")
    shape = tuple(model.inputs[0].shape)
    square = len(shape) == 4 and shape[1] == shape[2] and shape[1] in SIDES and shape[3] in (1, 3)
    if not square:
        expected = f"(batch, side, side, channels), a fixed side of {SIDES[0]} to {SIDES[-1]} and 1 or 3 channels"
        raise ImportFailure(f"{path}: the input {model.inputs[0].name!r} is {shape}; expected {expected}")
    outputs = [tuple(tensor.shape) for tensor in model.outputs]
    if outputs != [(None, labels)]:
        raise ImportFailure(f"{path}: the outputs are {outputs}; expected one of (None, {labels}), a score per label")
    return int(shape[1]), int(shape[3])


def _ending(path: Path, model: keras.Model) -> str:
    """What the last layer gives: "logits", or "softmax" where the layer or its activation is one."""
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    activation = getattr(getattr(last, "activation", None), "__name__", "linear")
    if activation not in ("linear", "softmax"):
        raise ImportFailure(
            f"{path}: the last layer {last.name!r} ends in {activation}; expected softmax, or linear for logits"
        )
    return "softmax" if activation == "softmax" else "logits"


def _with_preprocessing(
    path: Path, model: keras.Model, ends: str, size: int, channels: int, preprocessing: Preprocessing
) -> keras.Model:
    """A copy from uint8 pictures called `image` to `logits`, with names that a layer may have."""
    multiplied, added = preprocessing.factors(channels)
    image = keras.Input((size, size, channels), dtype="uint8", name="image")
    start = keras.layers.Rescaling(multiplied.tolist(), added.tolist(), name="preprocess")(image)
    names = dict(
        zip((layer.name for layer in model.layers), free_names(layer.name for layer in model.layers), strict=True)
    )
    last = model.outputs[0]._keras_history.operation
    tensors = {layer.name: start for layer in model.layers if isinstance(layer, keras.layers.InputLayer)}
    for layer in model.layers:
        if layer.name not in tensors:
            config = {**layer.get_config(), "name": names[layer.name], "dtype": "float32"}
            if layer is last and ends == "softmax" and "activation" in config:
                config["activation"] = "linear"
            try:
                given = [tensors[name] for name in input_names(layer)]
                copy = layer.__class__.from_config(config)
                tensors[layer.name] = copy(given if isinstance(layer.input, list) else given[0])
                copy.set_weights(layer.get_weights())
            except Exception as error:  # a layer that cannot be copied may raise anything
                raise ImportFailure(f"{path}: the layer {layer.name!r} cannot be copied ({_line(error)})") from error
    end = tensors[input_names(last)[0] if isinstance(last, keras.layers.Softmax) else last.name]
    return keras.Model(image, keras.layers.Activation("linear", dtype="float32", name="logits")(end), name="imported")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Original:
    """The model as it was loaded, computed by Keras."""

    def __init__(
        self, model: keras.Model, logits: bool, factors: tuple[NDArray[np.float32], NDArray[np.float32]]
    ) -> None:
        self._model, self._logits, self._factors = model, logits, factors

    def __call__(self, images: Images) -> NDArray[np.float64]:
        values = images * self._factors[0] + self._factors[1]
        found = np.asarray(self._model.predict_on_batch(values), np.float32)
        return softmax(found) if self._logits else found.astype(np.float64)
