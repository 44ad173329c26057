"""What a request of the Open Inference Protocol V2 asks for, and the outputs that answer it."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from app.errors import InvalidInput
from app.inference.metadata import Metadata
from app.inference.prediction import Scores
from app.wire import json, options
from app.wire.tensors import Tensor

DEFAULT_TOP_K = 3
IMAGE = "image"
"""The one input."""


class _Kind(NamedTuple):
    """One output that a network can answer."""

    datatype: str
    shape: Callable[[Metadata], list[int]]
    """Of one picture; -1 where the request decides."""
    values: Callable[[Scores, Metadata, int], Any]
    """Of one picture, from its scores and `top_k`: a list, or one number for a shape without dimensions."""


KINDS = {
    "probabilities": _Kind("FP32", lambda m: [len(m.labels)], lambda s, m, k: s.probabilities),
    "logits": _Kind("FP32", lambda m: [len(m.labels)], lambda s, m, k: s.logits.tolist()),
    "labels": _Kind("BYTES", lambda m: [-1], lambda s, m, k: [m.labels[i] for i in s.order[:k]]),
    "scores": _Kind("FP32", lambda m: [-1], lambda s, m, k: [s.probabilities[i] for i in s.order[:k]]),
    "ood_score": _Kind("FP32", lambda m: [], lambda s, m, k: s.ood_score),
}
"""`probabilities` and `logits` are in the order of the labels; `labels` and `scores` are the `top_k` best, best first;
`ood_score` is as in /predict."""


WITHOUT_SCORE = {name: kind for name, kind in KINDS.items() if name != "ood_score"}


def kinds(metadata: Metadata) -> Mapping[str, _Kind]:
    """The KINDS that the network answers with; only one with `out_of_distribution` has a score for it."""
    return KINDS if metadata.out_of_distribution else WITHOUT_SCORE


class Output(NamedTuple):
    """One output that a request wants."""

    name: str
    binary: bool = False
    classes: int = 0
    """How many `value:index:label` to answer instead of the values; 0 for the values themselves."""


class Asked(NamedTuple):
    """What a request wants besides its pictures."""

    id: str | None
    top_k: int
    outputs: Sequence[Output]


def image_shape(metadata: Metadata) -> list[int]:
    """Height, width and channels of what the network takes; pictures of any other size are brought to it."""
    return [metadata.input.size, metadata.input.size, metadata.input.channels]


def asked(head: Mapping[str, Any], metadata: Metadata) -> Asked:
    """What the JSON head of a request asks of the network. Raises InvalidInput."""
    name = head.get("id")
    if not isinstance(name, str | None):
        raise InvalidInput.about("/id", f"id is {json.shown(name)}; expected a string")
    parameters = _parameters(head, "")
    binary = _flag(parameters, "binary_data_output", "/parameters", False)
    top_k = options.top_k(parameters.get("top_k"), "/parameters/top_k", len(metadata.labels), DEFAULT_TOP_K)
    wanted = head.get("outputs")
    known = kinds(metadata)
    if not wanted and isinstance(wanted, list | None):
        return Asked(name, top_k, _all(tuple(known), binary))
    if not isinstance(wanted, list) or len(wanted) > len(known):
        detail = f"outputs is {json.shown(wanted)}; expected a list of {', '.join(known)}, each once"
        raise InvalidInput.about("/outputs", detail)
    return Asked(name, top_k, [_output(value, f"/outputs/{i}", binary, known) for i, value in enumerate(wanted)])


def tensor(output: Output, scores: Sequence[Scores], metadata: Metadata, top_k: int) -> Tensor:
    """What answers one output, for N pictures."""
    kind = KINDS[output.name]
    rows = [kind.values(found, metadata, top_k) for found in scores]
    first = rows[0]
    if output.classes:
        best = [found.order[: output.classes] for found in scores]
        texts = [f"{row[i]:f}:{i}:{metadata.labels[i]}" for row, order in zip(rows, best, strict=True) for i in order]
        return Tensor(output.name, "BYTES", [len(rows), len(best[0])], texts)
    if not isinstance(first, list):
        return Tensor(output.name, kind.datatype, [len(rows)], rows)
    values = first if len(rows) == 1 else list(chain.from_iterable(rows))
    return Tensor(output.name, kind.datatype, [len(rows), len(first)], values)


@lru_cache(maxsize=4)
def _all(names: Sequence[str], binary: bool) -> Sequence[Output]:
    return [Output(name, binary) for name in names]


def _output(value: object, where: str, binary: bool, known: Mapping[str, _Kind]) -> Output:
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str) or name not in known:
        detail = f"{where} is {json.shown(value)}; expected an object whose name is one of {', '.join(known)}"
        raise InvalidInput.about(f"{where}/name", detail)
    parameters = _parameters(value, where)
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0 or (classes and name not in ("probabilities", "logits")):
        expected = "a positive integer, for probabilities or logits"
        detail = f"classification is {json.shown(classes)} for {name}; expected {expected}"
        raise InvalidInput.about(f"{where}/parameters/classification", detail)
    return Output(name, _flag(parameters, "binary_data", f"{where}/parameters", binary), classes)


def _parameters(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found = value.get("parameters")
    if not isinstance(found, dict | None):
        detail = f"parameters is {json.shown(found)}; expected an object"
        raise InvalidInput.about(f"{where}/parameters", detail)
    return found or {}


def _flag(parameters: Mapping[str, Any], name: str, where: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput.about(f"{where}/{name}", f"{name} is {json.shown(value)}; expected true or false")
    return value
