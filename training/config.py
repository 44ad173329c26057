"""The recipes: everything that decides what a training run ends with, as one frozen value each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar, get_args

T = TypeVar("T")
Pair = tuple[T, T]

Schedule = Literal["inverse_time", "piecewise_linear"]
Precision = Literal["float32", "mixed_bfloat16"]
Flip = Literal["none", "random", "alternating"]
Monitor = Literal["val_accuracy", "val_loss"]
Pool = Literal["max", "average", "stochastic"]
Padding = Literal["same", "valid"]
Activation = Literal["relu", "sigmoid", "tanh", "silu", "linear"]
NOT_NEGATIVE = ("relu", "sigmoid")
"""The activations whose values stochastic pooling can take for odds."""


class ConfigError(Exception):
    """A recipe field has an impossible value; the message names field, value and what was expected."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training recipe.

    `learning_rate` is the peak of the schedule and, like `weight_decay`, is meant for a loss averaged over the batch.
    `knots` are the corners (epoch, share of `learning_rate`) of the piecewise linear schedule; two corners at one epoch
    are a jump, a warm restart (Loshchilov and Hutter 2017).
    `weight_decay` is decoupled and applies to kernels only: each step scales them by 1 - learning rate * weight_decay.
    `muon` is the peak rate for convolution kernels where these are trained by Muon (`training/muon.py`); 0: by SGD.
    `sam` is the radius within which an update goes by the worst point's gradient (`training/sam.py`); 0: by its own.
    `ema` is the share that an exponential moving average of the weights keeps at an update; the network that is
    measured and kept is that average then (`training/averaging.py`); 0: the weights themselves.
    `validation` pictures at the end of the seeded permutation are never trained on.
    `monitor` decides which epoch is the best; its weights are the result, or the last epoch's without `restore_best`.
    Training stops early after `early_stopping_patience` epochs (0: never) in a row in which `monitor` did not get
    better by more than `early_stopping_min_delta`.
    `initial` is the artifact whose weights the run starts with, as its name, its version and the SHA-256 of its
    model.keras (what `--from` says); empty: drawn anew.
    `teachers` are the artifacts that are distilled, named the same way (what `--teacher` says): of what the network is
    to answer to a picture, the label makes up 1 - `distillation` and a teacher's probabilities for that very picture,
    augmented as it is, the rest (Hinton, Vinyals and Dean 2015, at temperature 1; `training/teacher.py`).
    `cutmix` is the share of the pictures that a piece of another is pasted into; these have no `cutout`.
    `data_pruning` is the share left out of an epoch of the pictures that the network does well at
    (`training/data_pruning.py`).
    `width` is how many times as many filters as `fast` a network of its kind has (`training/architectures.py`).
    A network of more than `max_parameters` (0: any number) is refused before training.
    """

    name: str
    architecture: str
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    nesterov: bool = False
    weight_decay: float = 0.0
    muon: float = 0.0
    sam: float = 0.0
    ema: float = 0.0
    schedule: Schedule
    decay: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    label_smoothing: float = 0.0
    flip: Flip = "none"
    translate: int = 0
    cutout: int = 0
    cutmix: float = 0.0
    whiten: bool = False
    precision: Precision = "float32"
    validation: int = 5_000
    seed: int = 0
    monitor: Monitor = "val_accuracy"
    restore_best: bool = True
    early_stopping_patience: int = 0
    early_stopping_min_delta: float = 0.0
    width: float = 1.0
    max_parameters: int = 0
    initial: tuple[str, ...] = ()
    distillation: float = 0.0
    teachers: tuple[tuple[str, ...], ...] = ()
    data_pruning: float = 0.0

    def __post_init__(self) -> None:
        self._check("1 to 1000000", lambda value: 1 <= value <= 1_000_000, "epochs")
        self._check("1 to 50000", lambda value: 1 <= value <= 50_000, "batch_size")
        self._check("4 to 49998", lambda value: 4 <= value <= 49_998, "validation")  # halves of two and more
        self._check("more than 0", lambda value: value > 0, "learning_rate")
        self._check("0 or more", lambda value: value >= 0, "weight_decay", "decay", "muon", "sam", "max_parameters")
        self._check("0 or more", lambda value: value >= 0, "early_stopping_patience", "early_stopping_min_delta")
        self._check("0 to 4294967295", lambda value: 0 <= value < 2**32, "seed")
        self._check(
            "0 or more, less than 1", lambda value: 0 <= value < 1, "momentum", "ema", "label_smoothing", "data_pruning"
        )
        self._check("0 to 1", lambda value: 0 <= value <= 1, "cutmix", "distillation")
        self._check("0.02 to 16", lambda value: 0.02 <= value <= 16, "width")
        if self.muon:
            self._check("more than 0 with muon", lambda value: value > 0, "momentum")
        self._check("0 to 31 pixels", lambda value: 0 <= value < 32, "translate", "cutout")
        self._check_choice(flip=Flip, schedule=Schedule, precision=Precision, monitor=Monitor)
        if self.schedule == "piecewise_linear":
            expected = f"(epoch, share of the rate) pairs from epoch 0 to {self.epochs}, in order"
            self._check(expected, self._span, "knots")

    def _span(self, knots: tuple[tuple[float, float], ...]) -> bool:
        if any(len(knot) != 2 for knot in knots):
            return False
        epochs = [epoch for epoch, _ in knots]
        rates = all(0 <= share <= 1 for _, share in knots)
        return rates and epochs == sorted(epochs) and epochs[:1] == [0] and epochs[-1:] == [self.epochs]

    def _check(self, expected: str, holds: Callable[[Any], bool], *fields: str) -> None:
        for field in fields:
            if not holds(getattr(self, field)):
                raise ConfigError(f"{field} is {getattr(self, field)!r}; expected {expected}")

    def _check_choice(self, **kinds: Any) -> None:
        for field, kind in kinds.items():
            self._check(f"one of {', '.join(get_args(kind))}", get_args(kind).__contains__, field)

    def as_dict(self) -> dict[str, object]:
        """As JSON keeps it: tuples are lists."""
        return dict(json.loads(json.dumps(asdict(self))))

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "TrainConfig":
        """The recipe that `as_dict` gave, also before it had all its fields, or one `teacher` for several `teachers`.

        Raises ConfigError for an impossible value, KeyError and TypeError where a field is missing or unknown.
        """
        kind = TutorialConfig if values["architecture"] == "tutorial" else TrainConfig
        fields = {field: _as_tuples(value) for field, value in values.items()}
        if taught := fields.pop("teacher", None):
            fields["teachers"] = (taught,)
        return kind(**fields)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


@dataclass(frozen=True, kw_only=True)
class TutorialConfig(TrainConfig):
    """A recipe for the tutorial's network, which has these knobs; their defaults are the tutorial's.

    `filters`, `padding`: of the first and the second convolution. `kernel`, `stride`: rows and columns, of both.
    `pool_size`: rows and columns of a window; windows do not overlap. `stochastic` is Zeiler and Fergus' (2013).
    `activation`: of both convolutions and the first dense layer.
    `dropout`: the share of values set to 0 after the first convolution and after the first dense layer.
    `dropconnect`: the share of that dense layer's weights set to 0 (Wan et al. 2013).
    `max_norm`: the longest that a unit's vector of incoming weights may be (0: any length), in the layers but the last
    (Srivastava et al. 2014, section 5.1).
    """

    filters: Pair[int] = (32, 32)
    kernel: Pair[int] = (3, 3)
    stride: Pair[int] = (1, 1)
    padding: Pair[Padding] = ("same", "valid")
    activation: Activation = "relu"
    pool: Pool = "max"
    pool_size: Pair[int] = (2, 2)
    dropout: Pair[float] = (0.2, 0.3)
    dropconnect: float = 0.0
    max_norm: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice(activation=Activation, pool=Pool)
        self._check_pair("1 to 4096", lambda value: 1 <= value <= 4096, "filters")
        self._check_pair("1 to 32", lambda value: 1 <= value <= 32, "kernel", "stride", "pool_size")
        self._check_pair("0 or more, less than 1", lambda value: 0 <= value < 1, "dropout")
        self._check_pair(f"one of {', '.join(get_args(Padding))}", get_args(Padding).__contains__, "padding")
        self._check("0 or more, less than 1", lambda value: 0 <= value < 1, "dropconnect")
        self._check("0 or more", lambda value: value >= 0, "max_norm")
        self._check("False: the tutorial's network has no whitening layer", lambda value: not value, "whiten")
        self._check("1: the tutorial's network has filters instead", lambda value: value == 1, "width")
        without = "0: the tutorial's network has no batch normalisation, which Muon's kernels of one norm need"
        self._check(without, lambda value: value == 0, "muon")
        if self.pool == "stochastic":
            expected = f"{' or '.join(NOT_NEGATIVE)} before stochastic pooling, which takes values for odds"
            self._check(expected, NOT_NEGATIVE.__contains__, "activation")
        self._check_sizes()

    def _check_pair(self, expected: str, holds: Callable[[Any], bool], *fields: str) -> None:
        self._check(f"two, each {expected}", lambda pair: len(pair) == 2 and all(map(holds, pair)), *fields)

    def _check_sizes(self) -> None:
        """Windows that do not fit into what reaches them are refused."""
        rows_and_columns = [32, 32]
        for convolution, padding in zip(("conv1", "conv2"), self.padding, strict=True):
            if padding == "valid":
                self._check_fit("kernel", rows_and_columns, convolution)
                rows_and_columns = [
                    size - kernel + 1 for size, kernel in zip(rows_and_columns, self.kernel, strict=True)
                ]
            rows_and_columns = [-(-size // stride) for size, stride in zip(rows_and_columns, self.stride, strict=True)]
        self._check_fit("pool_size", rows_and_columns, "pool")

    def _check_fit(self, field: str, sizes: list[int], layer: str) -> None:
        expected = f"at most {sizes[0]} x {sizes[1]}, which is what the layer {layer} takes"
        self._check(expected, lambda window: window[0] <= sizes[0] and window[1] <= sizes[1], field)


TUTORIAL = TutorialConfig(
    name="tutorial",
    architecture="tutorial",
    epochs=25,
    batch_size=512,
    learning_rate=0.01,
    momentum=0.5,
    schedule="inverse_time",
    decay=0.0004,
)
"""The tutorial's own recipe, to the letter: no augmentation, SGD whose rate falls as 0.01 / (1 + 0.0004 step)."""

FAST = TrainConfig(
    name="fast",
    architecture="fast",
    epochs=46,
    batch_size=500,
    learning_rate=0.6,
    momentum=0.85,
    nesterov=True,
    weight_decay=0.009,
    schedule="piecewise_linear",
    knots=((0, 0), (7.2, 1), (36, 0), (36, 0.25), (46, 0)),
    label_smoothing=0.2,
    flip="alternating",
    translate=2,
    cutout=10,
    whiten=True,
    precision="mixed_bfloat16",
)
"""The recipe of version 1 of `fast`, which has 94.48 % of the validation pictures.

Going on from it alone did not help: 34 more epochs with Muon at 0.07, `translate` 4 and `cutout` 12 ended at 94.04 %.
The shipped version 2 went on from it with `accurate` as its teacher to 94.94 %, as its card says.
"""

ACCURATE = replace(
    FAST,
    name="accurate",
    architecture="accurate",
    width=2.0,
    epochs=28,
    muon=0.08,
    knots=((0, 0), (1.5, 1), (28, 0)),
    translate=4,
    cutout=8,
    precision="float32",
    distillation=0.5,
)
"""Twice as wide as `fast`, whose version 1 teaches it (`--teacher`). Trained by Muon, on pictures changed more.

That is how version 1 was trained, at `width` 1.5, to 94.80 % of 5,000 validation pictures; version 2 went on from it to
95.26 %. Going on from that with itself as the teacher, `cutmix` 0.5 and a peak as high, for 32 epochs, ended at 95.26 %
again. Twice the width of `fast`, begun with version 2 and taught by it and `fast`, had 95.65 % of 2,000 validation
pictures after 36 epochs, where version 2 has 95.85 %; going on from there for 80 epochs more, with these two and itself
as teachers, has 95.90 % (version 4). 36 more with `sam` 0.25 and `ema` 0.995 at a peak of 0.3 have 96.05 %: that is the
shipped version 5, as its card says (README has the commands).

Without a start and a teacher twice the width came no further than `fast`: 94.06 % of the validation pictures after 18
epochs with Muon, 94.20 % after 24 with gradient descent, where `fast` has 94.48 % after 46.
"""

RECIPES: dict[str, TrainConfig] = {config.name: config for config in (TUTORIAL, FAST, ACCURATE)}
