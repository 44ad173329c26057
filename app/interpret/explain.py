"""The methods of /explain: each answers which parts of a picture speak for a label.

A method asks the network for scores and activations through a `Question`, so it knows neither threads nor HTTP.
`benchmarks.explanations` compares how faithful their maps are.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal

from app.errors import InvalidInput, one_of
from app.inference.metadata import Metadata
from app.interpret import attribution, class_activation, lime, occlusion
from app.interpret.question import Explanation, Question

Method = Literal["lime", "occlusion", "cam"]

NOTHING = "; nothing in the picture speaks for this label, so the map is 0 everywhere"

METHODS: dict[Method, Callable[[Question], Awaitable[Explanation]]] = {
    "lime": lime.explain,
    "occlusion": occlusion.explain,
    "cam": class_activation.explain,
}


def patch_size(metadata: Metadata, size: int | None) -> int:
    """The side of a patch, by default a quarter of the picture's. Raises InvalidInput if it is larger than that."""
    side = metadata.input.size
    if size is not None and size > side:
        raise InvalidInput.about("size", f"size is {size}; expected 1 to {side}, the pixels that {metadata.name} sees")
    return side // 4 if size is None else size


def check_grid(method: Method, grid: int, most: int) -> None:
    """Raises InvalidInput if occlusion with that grid takes more than `most` views."""
    if method == "occlusion" and grid**2 > most:
        detail = f"grid is {grid}, which makes {grid**2} views; expected at most {most} views"
        raise InvalidInput.about("grid", detail)


def label_index(metadata: Metadata, label: str) -> int:
    """The position of a label. Raises InvalidInput, listing the labels there are."""
    if label not in metadata.labels:
        raise InvalidInput.about("label", f"label is {label[:80]!r}; expected {one_of(metadata.labels)}")
    return metadata.labels.index(label)


async def explain(method: Method, question: Question) -> Explanation:
    """The answer of a method, its map scaled to 0 to 1, and what hiding the hottest part of that does.

    `how` says so if nothing speaks for the label; then no part is the hottest.
    """
    found = await METHODS[method](question)
    heat = attribution.normalized(found.heat)
    if not heat.any():
        return replace(found, heat=heat, how=found.how + NOTHING)
    size = patch_size(question.metadata, None)
    (patch,) = await question.without([attribution.hottest(heat, size)], size)
    return replace(found, heat=heat, hottest=patch)
