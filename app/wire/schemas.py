"""What goes over the wire, as pydantic models; no behaviour."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.inference.metadata import (
    Accuracy,
    Calibration,
    Data,
    Example,
    FileName,
    Input,
    Layer,
    Mislabelled,
    OutOfDistribution,
    Preprocessing,
    Probability,
    Sha256,
    Source,
    TrainingRun,
)


class _Strict(BaseModel):
    """A title of its own has a model whose list is called as it is: generators take both names for variables."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PicturesBody(_Strict):
    """A JSON body: encoded pictures (JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF), each in Base64."""

    images: list[Annotated[str, Field(min_length=4, json_schema_extra={"contentEncoding": "base64"})]] = Field(
        min_length=1, description="standard or URL-safe, with or without a `data:` prefix, padding and line breaks"
    )


class LabelProbability(_Strict):
    label: str
    index: int = Field(description="position in the network's order of labels")
    probability: Probability = Field(description="calibrated where the network is (`calibration` in /models/{name})")


class Prediction(LabelProbability):
    """What the network says of one picture."""

    ood_score: Probability | None = Field(
        description="share of held-out pictures that are more typical; null for a network that cannot tell"
    )
    is_ood: bool | None = Field(
        description="whether the picture is unlike what the network was trained on; null for a network that cannot tell"
    )
    top: list[LabelProbability] = Field(description="the most probable labels, best first")
    views: int | None = Field(
        None, description="views of the picture that were averaged; only there where `views` of more than 1 was asked"
    )


class Predictions(_Strict):
    """The answer of /predict, in the order of the pictures."""

    model_config = ConfigDict(title="PredictionList")

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


class ModelSummary(_Strict):
    """One line of GET /models."""

    name: str
    version: str
    default: bool
    precision: str = Field(description="arithmetic it is served in")
    label_count: int = Field(description="how many labels it knows")
    accuracy: Probability | None = Field(description="share of the test pictures it gets right, as trained")
    parameters: int
    multiply_adds: int = Field(description="multiply-adds for one picture")


class ModelVersion(_Strict):
    """One version of a network, which requests name `name@version`."""

    name: str
    version: str
    state: Literal["ready", "idle", "loading", "unavailable"] = Field(
        description="`ready` is compiled; `idle` is served too, and compiled at its first request"
    )
    default: bool = Field(description="whether the name alone stands for this version")
    reason: str | None = Field(description="what is wrong with its files; if it was loaded before, it is still served")


class Models(_Strict):
    """GET /models."""

    model_config = ConfigDict(title="ModelList")

    models: list[ModelSummary] = Field(description="what each name stands for")
    versions: list[ModelVersion] = Field(description="every version of every network, newest first")
    unavailable: dict[str, str] = Field(description="networks that cannot be served, and what is wrong with each")


class ExplainedLayer(Layer):
    explanation: str = Field(description="how it computes its output, in one sentence")


class Model(ModelSummary):
    """GET /models/{name}."""

    labels: list[str]
    layers: list[ExplainedLayer]
    input: Input
    preprocessing: Preprocessing | None = Field(description="what the graph does with pixel values first")
    measured: Accuracy
    calibration: Calibration | None = Field(description="null where probabilities are not calibrated")
    out_of_distribution: OutOfDistribution | None = Field(description="null where it cannot tell what it does not know")
    training: TrainingRun | None
    data: Data | None
    source: Source | None
    examples: list[Example] = Field(description="held-out pictures, at /models/{name}/files/{file}")
    mislabelled: list[Mislabelled] = Field(description="pictures whose label is probably wrong")
    units: FileName | None = Field(description="the file that says what units look for; null where there is none")
    files: dict[FileName, Sha256] = Field(description="the SHA-256 of each file of the artifact")


class LearnedKernelValues(_Strict):
    """One channel of one filter; `filter` and `channel` with the model and the layer make it a mask of /convolve."""

    filter: int
    channel: int
    values: list[list[float]]


class Kernels(_Strict):
    """GET /models/{name}/layers/{layer}/kernels."""

    model_config = ConfigDict(title="KernelList")

    model: str
    version: str
    layer: str
    shape: list[int] = Field(description="height, width, channels in, filters")
    stride: list[int] | None
    padding: str | None
    bias: list[float] | None = Field(description="one a filter, in the order of the layer; null where it has none")
    kernels: list[LearnedKernelValues]


class FeatureMap(_Strict):
    """What one channel of a layer, or a layer without a picture's shape, put out."""

    channel: int | None = Field(description="null for a layer whose output is a list of features")
    units: list[int] | None = Field(None, description="for a list of features: which of them")
    minimum: float
    maximum: float
    mean: float
    zeros: Probability = Field(description="share of values that are exactly 0")
    values: Any = Field(description="rows of the map, or the list of features")


class LayerMaps(_Strict):
    name: str
    kind: str
    shape: list[int]
    maps: list[FeatureMap]


class FeatureMaps(_Strict):
    """The answer of /feature-maps as JSON."""

    model: str
    version: str
    layers: list[LayerMaps]


class Patch(_Strict):
    """What hiding one part of the picture does."""

    box: list[float] = Field(description="left, top, right, bottom as shares of the picture's width and height")
    probability: Probability = Field(description="of the label, with the patch hidden")
    drop: float = Field(description="how much of the probability the patch holds")


class Explanation(_Strict):
    """The answer of /explain as JSON."""

    model: str
    version: str
    method: Literal["lime", "occlusion", "cam"]
    how: str = Field(description="how the map was computed, and whether it is exact")
    label: str
    index: int
    probability: Probability = Field(description="of the label, for the whole picture; calibrated")
    seen: list[float] = Field(description="the part the network saw: left, top, right, bottom as shares of the picture")
    shape: list[int] = Field(description="rows and columns of the heat map, which covers the whole picture")
    heatmap: list[list[float]] = Field(description="0 to 1; 0 outside what the network saw")
    drop: float | None = Field(
        description="by how much hiding the hottest part behind grey lowers the probability; null if the map is all 0"
    )
    hottest: list[float] | None = Field(
        description="that part, a quarter of what the network saw along each side: left, top, right, bottom as shares"
    )
    patches: list[Patch] | None = Field(None, description="for occlusion, row by row")


class _Options(BaseModel):
    """Fields of a JSON object from a caller; each description says what is expected of the field."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


MAX_RANK = 3
Nested = Annotated[list[Any], Field(min_length=1)]
PerAxis = int | Annotated[list[int], Field(min_length=1, max_length=MAX_RANK)]
Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
PairPerAxis = Annotated[list[int | Pair], Field(min_length=1, max_length=MAX_RANK)]
Name = Annotated[str, Field(max_length=200)]


class LearnedKernel(_Options):
    """One channel of one filter of a convolution layer of a network that is served."""

    model: Name | None = Field(None, description="a name from /models, or null for the default model")
    layer: Name = Field(description="the name of a convolution layer")
    filter: int = Field(ge=0, description="which of the layer's filters, from 0")
    channel: int = Field(ge=0, description="which of the filter's input channels, from 0")


class ConvolveOptions(_Options):
    """What /convolve takes besides the input."""

    mask: Nested | Name | LearnedKernel = Field(
        description="a nested array of the input's rank, a name from /masks, or a learned kernel as "
        '{"model": …, "layer": …, "filter": …, "channel": …}'
    )
    operation: Literal["convolution", "correlation"] = Field(
        "convolution", description="`convolution`, which flips the mask along every axis, or `correlation`"
    )
    padding: Literal["same", "valid", "full"] | int | PairPerAxis = Field(
        "same",
        description="`same`, `valid`, `full`, an integer, or a list with one integer or [before, after] pair per axis",
    )
    boundary: Literal["constant", "reflect", "mirror", "nearest", "wrap"] = Field(
        "constant", description="`constant`, `reflect`, `mirror`, `nearest` or `wrap`, as in SciPy"
    )
    fill_value: float = Field(
        0.0,
        allow_inf_nan=False,
        description="a finite number, the value beyond the border under the boundary `constant`; it cannot be null: to "
        "have missing values beyond the border, write nulls around the input",
    )
    stride: PerAxis = Field(1, description="an integer of at least 1, or a list with one per axis")
    dilation: PerAxis = Field(1, description="an integer of at least 1, or a list with one per axis")
    normalize: bool = Field(False, description="true, which divides the mask by its sum, or false")
    missing: Literal["propagate", "ignore", "zero"] = Field(
        "propagate", description="`propagate`, `ignore` (weights renormalised over what is present) or `zero`"
    )
    activation: Literal["none", "relu", "sigmoid", "tanh"] = Field(
        "none", description="`none`, `relu`, `sigmoid` or `tanh`"
    )
    trace: "TraceAt | None" = Field(None, description='{"at": [row, column]}, the index of one output')
    color: Literal["rgb", "gray"] = Field("rgb", description="`rgb`, each channel by itself, or `gray`; for pictures")
    display: Literal["clamp", "absolute", "rescale"] = Field(
        "clamp", description="`clamp`, `absolute` or `rescale`: how numbers become the pixels of a PNG"
    )


class TraceAt(_Options):
    """Which output to trace."""

    at: Annotated[list[int], Field(min_length=1, max_length=MAX_RANK)] = Field(
        description="the index of one output, one integer per axis"
    )


class ConvolveBody(ConvolveOptions):
    """A JSON body of /convolve."""

    input: Nested = Field(description="a nested array of one to three dimensions; null is a missing value")


class PoolOptions(_Options):
    """What /pool takes besides the input."""

    kind: Literal["max", "average"] = Field("max", description="`max` or `average`")
    size: PerAxis = Field(2, description="an integer of at least 1, or a list with one per axis")
    stride: PerAxis | None = Field(
        None, description="an integer of at least 1, or a list with one per axis; the size where absent"
    )
    padding: Literal["valid", "same"] = Field("valid", description="`valid` or `same`")
    color: Literal["rgb", "gray"] = Field("rgb", description="`rgb`, each channel by itself, or `gray`; for pictures")
    display: Literal["clamp", "absolute", "rescale"] = Field(
        "clamp", description="`clamp`, `absolute` or `rescale`: how numbers become the pixels of a PNG"
    )


class PoolBody(PoolOptions):
    """A JSON body of /pool."""

    input: Nested = Field(description="a nested array of one to three dimensions; null is a missing value")


class AppliedConvolution(_Strict):
    """What was done, in full; lists have one element an axis."""

    operation: str
    mask: Nested = Field(description="as it was slid: flipped by a convolution, normalised where that was asked for")
    padding: list[Pair] = Field(description="elements added before and after the input")
    boundary: str
    stride: list[int]
    dilation: list[int]
    method: Literal["direct", "fft"] = Field(description="how it was computed, which does not change the result")
    reduced_from: str | None = Field(
        None, description="what a picture's samples were before they became 8 bits; absent if they had 8 bits"
    )


class Trace(_Strict):
    """How one output comes about."""

    at: list[int]
    window: Nested = Field(description="what of the input, padded, the mask covers; null where a value is missing")
    mask: Nested = Field(description="as it is slid")
    products: Nested = Field(description="element by element")
    sum: float | None = Field(description="of the products")
    scale: float | None = Field(description="what ignored values make the sum be multiplied by; else 1")
    output: float | None = Field(description="the sum, scaled, after the activation")


class Convolved(_Strict):
    """The answer of /convolve as JSON."""

    output: Nested = Field(description="null where an output is missing; a picture is (height, width, 3)")
    shape: list[int]
    applied: AppliedConvolution
    trace: Trace | list[Trace] | None = Field(None, description="for a picture in colour, one a channel")


class AppliedPooling(_Strict):
    kind: str
    size: list[int]
    stride: list[int]
    padding: list[Pair] = Field(description="by how much windows overhang before and after the input")
    reduced_from: str | None = Field(
        None, description="what a picture's samples were before they became 8 bits; absent if they had 8 bits"
    )


class Pooled(_Strict):
    """The answer of /pool as JSON."""

    output: Nested
    shape: list[int]
    applied: AppliedPooling


class Mask(_Strict):
    name: str
    purpose: str
    form: Literal["symmetric", "correlation"] = Field(
        description="`correlation`: does what it is for when slid without a flip; `symmetric`: either way"
    )
    values: Nested


class Masks(_Strict):
    """GET /masks."""

    model_config = ConfigDict(title="MaskList")

    masks: list[Mask]
