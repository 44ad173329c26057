"""A recipe: everything that decides what a training ends with, as a checked value that a file in recipes/ holds.

A file never changes once a network was trained from it: later ideas are new files. A field that is added later must
have a default that leaves the existing recipes as they were. For a technique that is "not used"; for a number that used
to be a constant of the program, such as `whitening_epsilon`, it is that constant. A digest covers only the values that
differ from their defaults, so a default never changes either.

Four things that decide the result are code, not fields: the structure of each architecture (`training/models.py`), the
mean and deviation of CIFAR-10 that pictures are normalised by, the kinds of disturbances and their greatest strengths
(`training/disturbances.py`), and the order in which random numbers are drawn. To change one of them, add a field or
another architecture. An artifact's metadata names the commit that trained it.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

Value = TypeVar("Value")
Pair = Annotated[tuple[Value, Value], BeforeValidator(lambda given: given if _listed(given) else (given, given))]
"""Two values: of the first and the second layer, or along rows and columns. One value stands for both."""

Share = Annotated[float, Field(ge=0, le=1)]
PartialShare = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Filters = Annotated[int, Field(ge=1, le=4096)]
NotNegative = Annotated[float, Field(ge=0)]
RecipeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)]

Precision = Literal["float32", "mixed_bfloat16"]
Activation = Literal["relu", "sigmoid", "tanh", "silu", "linear"]
Padding = Literal["same", "valid"]
NAMES = ("name", "base", "changes")
"""The fields that decide nothing of the result."""
NOT_NEGATIVE = ("relu", "sigmoid")
"""The activations whose values stochastic pooling can take as odds."""


class RecipeError(Exception):
    """A recipe cannot be used; the message names the file or the field, its value and what was expected."""


def _listed(given: object) -> bool:
    return isinstance(given, list | tuple)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TutorialNetwork(Section):
    """The tutorial's two convolutions, one pooling and two dense layers.

    `filters`, `padding`: of the first and the second convolution. `kernel`, `stride`: rows and columns, of both.
    `pool_size`: rows and columns of a window; windows do not overlap. `stochastic` is Zeiler and Fergus' (2013).
    `activation`: of both convolutions and the first dense layer, which has `units` units.
    `dropout`: the share of values set to 0 after the first convolution and after the first dense layer.
    `dropconnect`: the share of that dense layer's weights set to 0 (Wan et al. 2013).
    `max_norm`: the longest that a unit's vector of incoming weights may be (0: any length), in all layers but the last
    (Srivastava et al. 2014, section 5.1).
    """

    filters: Pair[Filters]
    kernel: Pair[Annotated[int, Field(ge=1, le=32)]]
    stride: Pair[Annotated[int, Field(ge=1, le=32)]]
    padding: Pair[Padding]
    activation: Activation
    pool: Literal["max", "average", "stochastic"]
    pool_size: Pair[Annotated[int, Field(ge=1, le=32)]]
    units: int = Field(ge=1, le=65_536)
    dropout: Pair[PartialShare] = (0, 0)
    dropconnect: PartialShare = 0
    max_norm: NotNegative = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.pool == "stochastic" and self.activation not in NOT_NEGATIVE:
            expected = f"{' or '.join(NOT_NEGATIVE)} before stochastic pooling, which takes values as odds"
            raise ValueError(f"activation is {self.activation!r}; expected {expected}")
        sizes = (32, 32)
        for layer, padding in zip(("conv1", "conv2"), self.padding, strict=True):
            if padding == "valid":
                self._check_window("kernel", self.kernel, sizes, layer)
                sizes = (sizes[0] - self.kernel[0] + 1, sizes[1] - self.kernel[1] + 1)
            sizes = (-(-sizes[0] // self.stride[0]), -(-sizes[1] // self.stride[1]))
        self._check_window("pool_size", self.pool_size, sizes, "pool")
        return self

    def _check_window(self, field: str, window: tuple[int, int], sizes: tuple[int, int], layer: str) -> None:
        if window[0] > sizes[0] or window[1] > sizes[1]:
            expected = f"at most {sizes[0]} x {sizes[1]}, the input of the layer {layer}"
            raise ValueError(f"{field} is {window}; expected {expected}")


class ResidualNetwork(Section):
    """Whitening and three residual groups (`training/models.py`).

    `filters`: of each group's convolutions, at width 1. `width`: how many times as many they have.
    `whitening_epsilon`: added to the variances of the patches' principal components before dividing by their roots.
    `soften`: how much is added, before the training, to the variances by which the whitening filters of the network it
    starts with divide. This bounds the filters, and so how much they amplify noise.
    `initial_scale`: kernels are drawn evenly between plus and minus this over the square root of a filter's weights.
    `norm_momentum`: the share of batch normalisation's moving statistics that an update keeps; `norm_epsilon` is added
    to its variances. `logit_scale`: what the last layer's outputs are multiplied by.
    """

    width: float = Field(ge=0.02, le=16)
    filters: tuple[Filters, Filters, Filters] = (64, 192, 256)
    soften: NotNegative = 0
    whitening_epsilon: Positive = 5e-4
    initial_scale: Positive = 1
    norm_momentum: PartialShare = 0.8
    norm_epsilon: Positive = 1e-5
    logit_scale: Positive = 1 / 9


class Data(Section):
    """The last `validation` training pictures of the permutation that `split_seed` draws are never trained on."""

    validation: int = Field(ge=4, le=49_998)  # out-of-distribution detection needs two halves of two and more
    split_seed: int = Field(ge=0, lt=2**32)


class Augment(Section):
    """How a training picture is changed each time it is shown. What is left out is not done.

    `flip`: mirrored at random, or in every second epoch (`alternating`). `translate`: moved by up to this many pixels
    along each axis. `cutout`: the side in pixels of a square greyed out. `cutmix`: the share of the pictures that a
    piece of another is pasted into; these have no cutout. `varied`: the share that one change of
    `training/trivial_augment.py` is made to.
    `disturbed`: the share of the pictures that are blurred, bent, toned, veiled or resampled. `noisy`: the share that
    noise is added to. Both are at most as strong as `strength`, a share of the greatest strength, and teachers see the
    pictures before them (`training/disturbances.py`).
    """

    flip: Literal["none", "random", "alternating"] = "none"
    translate: int = Field(0, ge=0, le=31)
    cutout: int = Field(0, ge=0, le=31)
    cutmix: Share = 0
    varied: Share = 0
    disturbed: Share = 0
    noisy: Share = 0
    strength: Share = 1


class Sgd(Section):
    """Stochastic gradient descent. `learning_rate` is the schedule's peak, for a loss averaged over the batch.

    `weight_decay` is decoupled and applies to kernels only: an update scales them by 1 - learning rate * weight_decay.
    """

    kind: Literal["sgd"]
    learning_rate: Positive
    momentum: PartialShare
    nesterov: bool
    weight_decay: NotNegative = 0


class Muon(Section):
    """Muon for convolution kernels, at the peak rate `kernel_rate`; gradient descent as in `Sgd` for all others.

    `iterations` and `coefficients` are those of Newton and Schulz' iteration (`training/optim.py`).
    """

    kind: Literal["muon"]
    learning_rate: Positive
    momentum: Annotated[float, Field(gt=0, lt=1)]
    nesterov: bool
    weight_decay: NotNegative = 0
    kernel_rate: Positive
    iterations: int = Field(ge=1, le=20)
    coefficients: tuple[float, float, float]


class InverseTime(Section):
    """The rate falls as learning rate / (1 + decay * update)."""

    kind: Literal["inverse_time"]
    decay: NotNegative


class PiecewiseLinear(Section):
    """The rate goes along straight lines between the `knots` (epoch, share of the learning rate).

    Two knots at one epoch are a jump, a warm restart (Loshchilov and Hutter 2017).
    """

    kind: Literal["piecewise_linear"]
    knots: tuple[tuple[float, Share], ...] = Field(min_length=2)


class Distillation(Section):
    """A part of what the network learns are its `teachers`' answers (Hinton, Vinyals and Dean 2015, temperature 1).

    `teachers` are the names of recipes. The label makes up 1 - `share` of the target; the teachers' probabilities for
    the very picture, augmented as it is but not disturbed, make up the rest.
    """

    teachers: tuple[RecipeName, ...] = Field(min_length=1)
    share: Annotated[float, Field(gt=0, le=1)]


class Sharpness(Section):
    """Sharpness-aware minimisation (`training/optim.py`): the gradient is that of the worst point within `radius`.

    That point is looked for with every `every`-th picture of the batch.
    """

    radius: Positive
    every: int = Field(ge=1, le=50_000)


class Average(Section):
    """What is measured and kept is an exponential moving average of the weights (`training/optim.py`).

    An update keeps the share `keep` of it. `batches`: how many give it batch normalisation's statistics.
    """

    keep: Annotated[float, Field(gt=0, lt=1)]
    batches: int = Field(ge=1, le=10_000)


class Pruning(Section):
    """An epoch leaves out the share `share` of the pictures that the network does well at (`training/augment.py`).

    The last `whole` (a share) of the epochs leaves out nothing.
    """

    share: Annotated[float, Field(gt=0, lt=1)]
    whole: Share


class Selection(Section):
    """Which epoch's weights are the result: the best by `monitor`, or without `restore_best` the last.

    Training stops early after `patience` epochs (0: never) in a row in which `monitor` did not improve by more than
    `min_delta`.
    """

    monitor: Literal["val_accuracy", "val_loss"]
    restore_best: bool
    patience: int = Field(0, ge=0)
    min_delta: NotNegative = 0


class BaseRecipe(Section):
    """What every recipe has.

    `name` is the file's, or a trial's: that is the recipe `base` with `changes` made by `--set`.
    `start` names the recipe whose network's weights the training starts with; without it they are drawn at random.
    `label_smoothing` is the share of the target that is spread over all labels.
    A network of more than `max_parameters` (0: any number) is rejected before training.
    """

    name: RecipeName
    base: RecipeName | None = None
    changes: tuple[str, ...] = ()
    start: RecipeName | None = None
    epochs: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(ge=1, le=50_000)
    precision: Precision
    seed: int = Field(ge=0, lt=2**32)
    label_smoothing: PartialShare = 0
    max_parameters: int = Field(0, ge=0)
    data: Data
    augment: Augment = Augment()
    schedule: InverseTime | PiecewiseLinear = Field(discriminator="kind")
    distillation: Distillation | None = None
    sharpness: Sharpness | None = None
    average: Average | None = None
    pruning: Pruning | None = None
    selection: Selection

    @model_validator(mode="after")
    def _spans(self) -> Self:
        if isinstance(self.schedule, PiecewiseLinear):
            epochs = [epoch for epoch, _ in self.schedule.knots]
            if epochs != sorted(epochs) or (epochs[0], epochs[-1]) != (0, self.epochs):
                expected = f"(epoch, share of the rate) pairs from epoch 0 to {self.epochs}, in order"
                raise ValueError(f"schedule.knots is {self.schedule.knots}; expected {expected}")
        return self

    @property
    def parents(self) -> tuple[str, ...]:
        """The recipes whose networks this one needs, each once."""
        named = ((self.start,) if self.start else ()) + (self.distillation.teachers if self.distillation else ())
        return tuple(dict.fromkeys(named))

    @property
    def artifact(self) -> str:
        """The name of the network: the recipe's without its number. `accurate-5` makes `accurate`."""
        return re.sub(r"-\d+$", "", self.name)

    def content(self) -> dict[str, Any]:
        """All that decides the result, as JSON has it: without names, and without techniques that are not used."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={*NAMES})

    def as_dict(self) -> dict[str, Any]:
        """As metadata.json and checkpoints keep it; `parse` reads it."""
        return self.model_dump(mode="json", exclude_defaults=True)


class TutorialRecipe(BaseRecipe):
    """The tutorial's network. It has no batch normalisation, which Muon's kernels of one norm would need."""

    architecture: Literal["tutorial"]
    network: TutorialNetwork
    optimizer: Sgd


class ResidualRecipe(BaseRecipe):
    """The network of `fast` and `accurate`."""

    architecture: Literal["residual"]
    network: ResidualNetwork
    optimizer: Sgd | Muon = Field(discriminator="kind")


Recipe = TutorialRecipe | ResidualRecipe
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="architecture")])


def parse(values: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """The recipe of plain values. Raises RecipeError, one line that begins with `where` and names each bad field."""
    try:
        return _ADAPTER.validate_python(dict(values))
    except ValidationError as error:
        raise RecipeError(f"{where}: {'; '.join(map(_told, error.errors()))}") from error


def _told(problem: ErrorDetails) -> str:
    """One problem: the field, its value and what was expected."""
    kinds = {*get_args(Literal["tutorial", "residual", "sgd", "muon", "inverse_time", "piecewise_linear"])}
    parts = [part for part in problem["loc"] if part not in kinds]
    field = ".".join(map(str, parts))
    match problem["type"]:
        case "extra_forbidden":
            return f"no field is called {field!r}{_nearest(str(parts[-1]))}"
        case "missing":
            return f"{field} is missing"
        case "value_error":
            inside = f"{field}." if field else ""
            return f"{inside}{problem['msg'].removeprefix('Value error, ')}"
        case "union_tag_invalid" | "union_tag_not_found":
            tag = problem["ctx"]["discriminator"].strip("'")
            where = f"{field}.{tag}" if field else tag
            if "tag" not in problem["ctx"]:
                return f"{where} is missing"
            return f"{where} is {problem['ctx']['tag']!r}; expected {problem['ctx']['expected_tags']}"
        case _:
            expected = problem["msg"].removeprefix("Input should be ")
            return f"{field} is {str(problem['input'])!r:.100}; expected {expected[0].lower()}{expected[1:]}"


def _nearest(field: str) -> str:
    known = _paths()
    near = difflib.get_close_matches(field, known, 1)
    return f"; did you mean {known[near[0]]}?" if near else "; see training/recipe.py for the fields"


def _paths() -> dict[str, str]:
    """Every field's dotted name, by its last part."""
    found: dict[str, str] = {}
    for name, section in _sections():
        found |= {field: f"{name}.{field}" for field in section.model_fields}
    for kind in (TutorialRecipe, ResidualRecipe):
        found |= {field: field for field in kind.model_fields}
    return found


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for kind in (TutorialRecipe, ResidualRecipe):
        for name, field in kind.model_fields.items():
            for section in (field.annotation, *get_args(field.annotation)):
                if isinstance(section, type) and issubclass(section, Section):
                    yield name, section
