"""model.keras with its kernels in half precision: half the file, and `model.onnx` comes out the same to the byte.

model.onnx stores kernels in half precision too (`export.py`), so the service answers from the rounded numbers either
way. Everything else, such as biases and batch normalisation's statistics, stays in float32.
"""

import io
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

WEIGHTS = "model.weights.h5"
"""The member of a .keras archive that holds the weights."""


def save(model: keras.Model, path: Path) -> None:
    """Round the kernels of `model`, in place, to half precision, and write the network to `path`.

    `keras.models.load_model(path)` gives that very network, with float32 weights. Raises OSError.
    """
    for variable in model.weights:
        if _is_kernel(variable.shape):
            variable.assign(variable.numpy().astype(np.float16))
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[WEIGHTS] = _halved(members[WEIGHTS])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _is_kernel(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1


def _halved(weights: bytes) -> bytes:
    """An HDF5 file with the same groups, attributes and datasets, of which the kernels are float16."""
    target = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as whole, h5py.File(target, "w") as half:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                copied = half.create_group(name)
            else:
                copied = half.create_dataset(name, data=item, dtype=np.float16 if _is_kernel(item.shape) else None)
            copied.attrs.update(item.attrs)

        whole.visititems(copy)
        half.attrs.update(whole.attrs)
    return target.getvalue()
