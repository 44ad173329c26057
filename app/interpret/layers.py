"""What a network's layers do, in words; and which of them a request means."""

from collections.abc import Callable, Sequence

from app.errors import NotFound
from app.inference.metadata import Layer, Metadata, ReceptiveField

IMAGE = Layer(
    name="image",
    kind="input",
    inputs=[],
    input_shapes=[],
    output_shape=[32, 32, 3],
    parameters=0,
    multiply_adds=0,
    kernel=None,
    stride=None,
    padding=None,
    activation=None,
    receptive_field=ReceptiveField(size=[1, 1], step=[1, 1], start=[0, 0]),
)
"""What the first layer takes: the picture as the network receives it, RGB from 0 to 255."""

ACTIVATIONS = {
    "linear": "",
    "relu": "negative values become 0 (ReLU)",
    "silu": "each value x becomes x times the sigmoid of x, which damps the negative ones (SiLU)",
    "sigmoid": "each value is squeezed to between 0 and 1 (sigmoid)",
    "tanh": "each value is squeezed to between -1 and 1 (tanh)",
}


def find(metadata: Metadata, names: Sequence[str]) -> list[Layer]:
    """The layers of those names, in the order given, `image` among them. Raises NotFound, listing what there is."""
    layers = {layer.name: layer for layer in [IMAGE, *metadata.layers]}
    if missing := [name for name in names if name not in layers]:
        detail = f"{metadata.name} has no layer called {missing[0]!r:.80}; expected one of {', '.join(layers)}"
        raise NotFound.about("layer", detail)
    return [layers[name] for name in names]


def explanation(layer: Layer) -> str:
    """How a layer computes its output, in one sentence."""
    return SENTENCES[layer.kind](layer) + "."


def _convolution(layer: Layer) -> str:
    rows, columns = layer.kernel or (0, 0)
    channels, filters = layer.input_shapes[0][-1], layer.output_shape[-1]
    where = (
        "over the input and a border of zeros"
        if layer.padding == "same"
        else "over the input, only where it lies wholly inside"
    )
    bias = _bias(layer, rows * columns * channels * filters)
    return (
        f"Each of {filters} filters, {rows} x {columns} weights for each of {channels} channels, slides {where}, "
        f"in steps of {_steps(layer)}, and at every place multiplies and adds up{bias}{_activation(layer)}; "
        "it is not flipped, so strictly this is a correlation"
    )


def _dense(layer: Layer) -> str:
    inputs, outputs = layer.input_shapes[0][-1], layer.output_shape[-1]
    bias = _bias(layer, inputs * outputs)
    return f"Each of {outputs} outputs is a weighted sum of all {inputs} inputs{bias}{_activation(layer)}"


def _bias(layer: Layer, weights: int) -> str:
    return ", adds a bias" if layer.parameters > weights else ""


def _activation(layer: Layer) -> str:
    words = ACTIVATIONS.get(layer.activation or "linear", layer.activation or "")
    return f", then {words}" if words else ""


def _steps(layer: Layer) -> str:
    rows, columns = layer.stride or (1, 1)
    return str(rows) if rows == columns else f"{rows} down and {columns} across"


def _pooling(what: str) -> Callable[[Layer], str]:
    def sentence(layer: Layer) -> str:
        rows, columns = layer.kernel or (0, 0)
        sizes = [f"{shape[0]} x {shape[1]}" for shape in (layer.input_shapes[0], layer.output_shape)]
        return (
            f"Each window of {rows} x {columns}, in steps of {_steps(layer)}, gives its {what}, channel by channel, "
            f"so that {sizes[0]} values become {sizes[1]}"
        )

    return sentence


def _sentence_case(words: str) -> str:
    return words[:1].upper() + words[1:]


SENTENCES: dict[str, Callable[[Layer], str]] = {
    "rescaling": lambda layer: "Every value is multiplied by one constant, and another is added",
    "normalization": lambda layer: (
        "From each colour its mean over the training pictures is taken away, and the rest is divided by its standard "
        "deviation over them"
    ),
    "convolution": _convolution,
    "batch normalization": lambda layer: (
        "Each channel is shifted and scaled by constants: over the training pictures its mean became 0 and its "
        "variance 1, and then came a learned offset"
    ),
    "activation": lambda layer: _sentence_case(ACTIVATIONS.get(layer.activation or "", "")),
    "max pooling": _pooling("largest value"),
    "average pooling": _pooling("mean"),
    "stochastic pooling": _pooling(
        "mean, each value weighted by its share of the window's sum (in training, one value drawn with that chance)"
    ),
    "global max pooling": lambda layer: "Each channel is reduced to its largest value, wherever in the picture that is",
    "global average pooling": lambda layer: "Each channel is reduced to its mean over the whole picture",
    "flatten": lambda layer: (
        f"The values are read row by row, all channels of a pixel together, as one list of {layer.output_shape[0]}"
    ),
    "dense": _dense,
    "dropout": lambda layer: (
        "Nothing changes: only during training was a random share of the values set to 0, so that no output relied "
        "on a few"
    ),
    "add": lambda layer: f"The outputs of {' and '.join(layer.inputs)} are added, value by value",
    "multiply": lambda layer: f"The outputs of {' and '.join(layer.inputs)} are multiplied, value by value",
    "softmax": lambda layer: (
        "e is raised to each score and divided by the sum over all of them, so that the probabilities add up to 1"
    ),
}
