"""What goes over the wire and what is read from an artifact's metadata.json, as pydantic models; no behaviour."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
FileName = Literal["model.keras", "model.onnx", "history.csv", "training.png", "confusion.png", "README.md"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _FromDisk(BaseModel):
    model_config = ConfigDict(frozen=True)


class PicturesBody(_Strict):
    """A JSON body: encoded pictures (JPEG, PNG, WebP, GIF, BMP or TIFF), each in Base64."""

    images: list[str] = Field(min_length=1)


class LabelProbability(_Strict):
    label: str
    index: int = Field(description="position in CIFAR-10's order of labels")
    probability: Probability = Field(description="calibrated")


class Prediction(LabelProbability):
    """What the network says of one picture."""

    ood_score: Probability = Field(description="share of held-out CIFAR-10 pictures that are more typical")
    is_ood: bool = Field(description="whether the picture is unlike what the network was trained on")
    top: list[LabelProbability] = Field(description="the most probable labels, best first")


class Predictions(_Strict):
    """The answer of /predict, in the order of the pictures."""

    model: str
    version: str
    predictions: list[Prediction]


class FieldProblem(_Strict):
    field: str = Field(description="JSON pointer, part name, query parameter, or `body`")
    detail: str


class Problem(_Strict):
    """Every failure, as application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] = []


class Layer(_FromDisk):
    """One layer of a network. Shapes are without the batch: (height, width, channels) or (features,)."""

    name: str
    kind: str
    input_shapes: list[list[int]]
    output_shape: list[int]
    parameters: int
    multiply_adds: int
    kernel: list[int] | None
    stride: list[int] | None
    padding: Literal["same", "valid"] | None
    activation: str | None


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
    """How typical held-out pictures are: evenly spaced quantiles of the method's score, higher is more typical."""

    method: Literal["energy"]
    quantiles: list[float] = Field(min_length=2)
    threshold: Probability


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
    files: dict[
        Literal["model.keras", "model.onnx", "history.csv", "training.png", "confusion.png", "README.md"], Sha256
    ]
    accuracy: Accuracy
    calibration: Calibration
    out_of_distribution: OutOfDistribution
    training: TrainingRun


class ModelSummary(_Strict):
    """One line of GET /models."""

    name: str
    version: str
    default: bool
    precision: str = Field(description="arithmetic it is served in")
    accuracy: Probability = Field(description="share of the CIFAR-10 test set it gets right, as trained")
    parameters: int
    multiply_adds: int = Field(description="multiply-adds for one picture")


class Models(_Strict):
    models: list[ModelSummary]


class Model(ModelSummary):
    """GET /models/{name}."""

    labels: list[str]
    layers: list[Layer]
    measured: Accuracy
    calibration: Calibration
    training: TrainingRun
