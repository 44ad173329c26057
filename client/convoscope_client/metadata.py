# A copy of app/inference/metadata.py: change it there, and run `python client/copy_wire.py`.
"""What is read from an artifact's metadata.json, as pydantic models; no behaviour (docs/reference/artifact.md)."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]
FileName = Annotated[
    str, Field(max_length=200, pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*$")
]
"""A path within the artifact's folder."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Of a network or of a version; it is one segment of a URL's path."""

LayerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
Label = Annotated[str, Field(min_length=1, max_length=100)]
PrecisionName = Literal["float32", "bfloat16", "int8"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _FromDisk(BaseModel):
    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, found: Any) -> Any:
        return {name: value for name, value in found.items() if value is not None} if isinstance(found, dict) else found


class ReceptiveField(_FromDisk):
    """Which pixels an output depends on, along [rows, columns]: `size` of them from `start` + index * `step` on."""

    size: list[int]
    step: list[int]
    start: list[int] = Field(description="may lie outside, in the padding")


class Layer(_FromDisk):
    """One layer of a network. Shapes are without the batch: (height, width, channels) or (features,)."""

    name: LayerName
    kind: str
    inputs: list[str] = Field(description="the layers whose outputs it takes; `image` is the picture")
    input_shapes: list[list[int]]
    output_shape: list[int]
    parameters: int
    multiply_adds: int
    kernel: list[int] | None = None
    stride: list[int] | None = None
    padding: Literal["same", "valid"] | None = None
    activation: str | None = None
    receptive_field: ReceptiveField | None = Field(None, description="null where it is not known")

    @field_validator("output_shape")
    @classmethod
    def _is_a_map_or_a_list(cls, shape: list[int]) -> list[int]:
        if len(shape) not in (1, 3):
            raise ValueError("expected [height, width, channels] or [features]")
        return shape


class Input(_FromDisk):
    """What a network takes: square pictures of `size` pixels, made from any picture as `fit` and `filter` say."""

    size: int = Field(32, ge=16, le=256, description="pixels along each side")
    channels: Literal[1, 3] = Field(3, description="1 for grey, 3 for RGB")
    fit: Literal["balanced", "crop", "stretch"] = Field(
        "balanced",
        description="how a picture becomes square: `crop` takes the centred square, `stretch` squashes all of it, and "
        "`balanced` squashes a little less than it crops",
    )
    filter: Literal["bicubic", "bilinear", "box", "lanczos", "nearest"] = Field(
        "bicubic", description="how it is reduced or enlarged, antialiased but for `nearest`"
    )
    neutral: list[Annotated[int, Field(ge=0, le=255)]] | None = Field(
        None, description="the mean colour of the training pictures, one value per channel"
    )

    @model_validator(mode="after")
    def _has_a_neutral_value_per_channel(self) -> Self:
        if self.neutral is not None and len(self.neutral) != self.channels:
            raise ValueError(f"neutral has {len(self.neutral)} values; expected {self.channels}, one per channel")
        return self


class Preprocessing(_FromDisk):
    """What the graph does with pixel values first: (value * scale - mean) / std. For people; the graph does it."""

    scale: float | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    layout: Literal["nhwc", "nchw"] | None = None


class ServedAccuracy(_FromDisk):
    """Test accuracy measured over HTTP."""

    accuracy: Probability
    precision: str
    date: str


class Photographs(_FromDisk):
    """Accuracy on photographs that are not of the data set, and how well others are told from them."""

    mean_per_class: Probability
    count: int
    labels: int
    auroc: Probability | None = Field(None, description="of `ood_score`, against `others` that show none of the labels")
    fpr_at_95: Probability | None = Field(
        None, description="share of the others that score no higher than 95 % of the photographs"
    )
    others: int | None = None
    date: str


class Doubt(_FromDisk):
    """Accuracy of what is left when the least sure pictures are set aside; one value for each of `set_aside`."""

    set_aside: list[Probability]
    clean: list[Probability]
    corrupted: list[Probability]


class Corrupted(_FromDisk):
    """On test pictures with the fifteen corruptions of CIFAR-10-C at five severities, as served."""

    accuracy: Probability = Field(description="mean over corruptions and severities")
    calibration_error: Probability = Field(description="expected calibration error, the mean of all")
    by_severity: list[Probability] = Field(description="mean accuracy at severities 1 to 5")
    by_corruption: dict[str, Probability] = Field(description="mean accuracy over the severities")
    doubt: Doubt
    far: dict[str, Probability] = Field(
        {}, description="area under the ROC curve of `ood_score`: test pictures against pictures of nothing, by kind"
    )
    pictures: int = Field(description="how many test pictures were corrupted")
    precision: str
    date: str


class Accuracy(_FromDisk):
    """Share of pictures whose most probable label is right."""

    test: Probability | None = Field(None, description="of pictures that chose nothing")
    test_interval: list[Probability] | None = Field(
        None, min_length=2, max_length=2, description="lower and upper end of the 95 % interval of `test`"
    )
    validation: Probability | None = None
    per_class: dict[str, Probability] = {}
    served: ServedAccuracy | None = None
    photographs: Photographs | None = None
    corrupted: Corrupted | None = None


class Calibration(_FromDisk):
    """Temperature the logits are divided by, and the expected calibration error on the test set without and with it."""

    temperature: float = Field(gt=0)
    ece_test_uncalibrated: Probability | None = None
    ece_test: Probability | None = None


class OutOfDistribution(_FromDisk):
    """How typical held-out pictures are: evenly spaced quantiles, ascending, of the graph's `typicality`."""

    method: str
    quantiles: list[float] = Field(min_length=2)
    threshold: Probability


class MeasuredPrecision(_FromDisk):
    """One precision on the validation pictures."""

    validation: Probability = Field(description="accuracy")
    changed: Probability | None = Field(
        None, description="share of the pictures that get another label than in float32"
    )


class Precision(_FromDisk):
    """The precisions that cost no accuracy that matters; float32 is one."""

    exact: list[PrecisionName] = Field(["float32"], min_length=1)
    measured: dict[PrecisionName, MeasuredPrecision] = {}

    @field_validator("exact")
    @classmethod
    def _has_float32(cls, exact: list[PrecisionName]) -> list[PrecisionName]:
        if "float32" not in exact:
            raise ValueError("expected float32 among them")
        return exact


class TrainingRun(_FromDisk):
    seconds: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    date: str | None = None
    machine: str | None = None


class Data(_FromDisk):
    """How many pictures it was trained, chosen and tested with."""

    name: str | None = None
    training: int | None = None
    validation: int | None = None
    test: int | None = None


class Example(_FromDisk):
    """A held-out picture."""

    file: FileName
    label: str


class Mislabelled(_FromDisk):
    """A picture whose label is probably wrong, and what the network says instead."""

    file: FileName | None = None
    label: str
    predicted: str
    probability: Probability
    path: str | None = None


class Source(_FromDisk):
    """Where an artifact comes from."""

    kind: Literal["trained", "imported"]
    file: str | None = None
    sha256: str | None = None


class Metadata(_FromDisk):
    """metadata.json: all that is known of an artifact."""

    format: Literal[1]
    name: Name
    version: Name
    created: str | None = None
    labels: list[Label] = Field(min_length=2, max_length=1000)
    input: Input = Input()
    preprocessing: Preprocessing | None = None
    parameters: int = Field(ge=0)
    multiply_adds: int = Field(ge=0)
    layers: list[Layer]
    files: dict[FileName, Sha256]
    accuracy: Accuracy = Accuracy()
    calibration: Calibration | None = None
    out_of_distribution: OutOfDistribution | None = None
    precision: Precision = Precision()
    training: TrainingRun | None = None
    data: Data | None = None
    examples: list[Example] = Field([], max_length=1000)
    mislabelled: list[Mislabelled] = Field([], max_length=100)
    units: FileName | None = None
    source: Source | None = None

    @property
    def temperature(self) -> float:
        """What logits are divided by: 1 for a network that is not calibrated."""
        return self.calibration.temperature if self.calibration else 1.0

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: list[str]) -> list[str]:
        if twice := next((label for i, label in enumerate(labels) if label in labels[:i]), None):
            raise ValueError(f"the label {twice!r} is there twice; expected each once")
        if bad := next((label for label in labels if CONTROL.search(label)), None):
            raise ValueError(f"the label {bad!r} has a control character")
        return labels

    @field_validator("layers")
    @classmethod
    def _have_names_of_their_own(cls, layers: list[Layer]) -> list[Layer]:
        names = [layer.name for layer in layers]
        if twice := next((name for i, name in enumerate(names) if name in ("image", *names[:i])), None):
            raise ValueError(f"the layer {twice!r} is there twice; `image` is the picture")
        return layers

    @model_validator(mode="after")
    def _has_digests(self) -> Self:
        needed = ["model.onnx", *(["model.int8.onnx"] if "int8" in self.precision.exact else [])]
        needed += [example.file for example in self.examples]
        needed += [picture.file for picture in self.mislabelled if picture.file]
        needed += [self.units] if self.units else []
        if missing := [name for name in needed if name not in self.files]:
            raise ValueError(f"files has no digest for {', '.join(missing[:3])}")
        return self
