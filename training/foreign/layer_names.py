"""What the layers of a foreign network are called here."""

import re
from collections.abc import Iterable

TAKEN = ("image", "logits", "typicality")
"""The names of inputs and outputs that are not layers."""


def free_name(wanted: str, taken: set[str]) -> str:
    """`wanted` in letters that a layer's name may have, and not one that is taken."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", wanted).strip("_")[:90] or "layer"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name)
    return name


def free_names(wanted: Iterable[str]) -> list[str]:
    """Each as a layer may be called, all different."""
    taken = {*TAKEN, "preprocess"}
    return [free_name(name, taken) for name in wanted]
