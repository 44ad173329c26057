# A copy of app/inference/metadata.py: change it there, and run `python client/copy_wire.py`.
"""What is read from an artifact's metadata.json, as pydantic models; no behaviour."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Probability = Annotated[float, Field(ge=0, le=1)]
FileName = Literal[
    "model.keras",
    "model.onnx",
    "model.int8.onnx",
    "history.csv",
    "training.png",
    "confusion.png",
    "reliability.png",
    "README.md",
]
PrecisionName = Literal["float32", "bfloat16", "int8"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _FromDisk(BaseModel):
    model_config = ConfigDict(frozen=True)


class ReceptiveField(_FromDisk):
    """Which pixels an output depends on, along [rows, columns]: `size` of them from `start` + index * `step` on."""

    size: list[int]
    step: list[int]
    start: list[int] = Field(description="may lie outside, in the padding")


class Layer(_FromDisk):
    """One layer of a network. Shapes are without the batch: (height, width, channels) or (features,)."""

    name: str
    kind: str
    inputs: list[str] = Field(description="the layers whose outputs it takes; `image` is the picture")
    input_shapes: list[list[int]]
    output_shape: list[int]
    parameters: int
    multiply_adds: int
    kernel: list[int] | None
    stride: list[int] | None
    padding: Literal["same", "valid"] | None
    activation: str | None
    receptive_field: ReceptiveField


class ServedAccuracy(_FromDisk):
    """Test accuracy measured over HTTP."""

    accuracy: Probability
    precision: str
    date: str


class Accuracy(_FromDisk):
    """Share of pictures whose most probable label is right."""

    test: Probability
    validation: Probability
    per_class: dict[str, Probability]
    served: ServedAccuracy | None


class Calibration(_FromDisk):
    """Temperature the logits are divided by, and the expected calibration error on the test set without and with it."""

    temperature: float = Field(gt=0)
    ece_test_uncalibrated: Probability
    ece_test: Probability


class OutOfDistribution(_FromDisk):
    """How typical held-out pictures are: evenly spaced quantiles, ascending, of the graph's `typicality`."""

    method: Literal["discriminant"]
    quantiles: list[float] = Field(min_length=2)
    threshold: Probability


class Precision(_FromDisk):
    """The arithmetics that cost no accuracy that matters; float32 is one."""

    exact: list[PrecisionName] = Field(min_length=1)

    @field_validator("exact")
    @classmethod
    def _has_float32(cls, exact: list[PrecisionName]) -> list[PrecisionName]:
        if "float32" not in exact:
            raise ValueError("expected float32 among them")
        return exact


class TrainingRun(_FromDisk):
    seconds: float
    epochs: int
    best_epoch: int
    date: str
    machine: str


class Metadata(_FromDisk):
    """metadata.json: all that is known of an artifact."""

    format: Literal[1]
    name: str
    version: str
    labels: list[str] = Field(min_length=10, max_length=10)
    parameters: int
    multiply_adds: int
    layers: list[Layer]
    files: dict[FileName, Sha256]
    accuracy: Accuracy
    calibration: Calibration
    out_of_distribution: OutOfDistribution
    precision: Precision
    training: TrainingRun
