"""A network that is distilled, computed by the engine that serves it."""

from pathlib import Path

import numpy as np
import openvino as ov

from training import artifact, precision
from training.artifact import ArtifactError
from training.calibration import softmax
from training.train import Teacher


def load(folder: Path) -> Teacher:
    """The artifact in `folder`, in the precision that the service would compute it in here; at temperature 1.

    Raises ArtifactError where there is none, or it is damaged.
    """
    core = ov.Core()
    try:
        exact = artifact.read(folder, ())["precision"]["exact"]
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged (no {error})") from error
    chosen = next((name for name in precision.available(core) if name in exact), "float32")
    artifact.read(folder, (precision.GRAPHS[chosen],))
    request = precision.compiled(core, folder / precision.GRAPHS[chosen], chosen)
    return lambda images: softmax(precision.logits(request, images)).astype(np.float32)
