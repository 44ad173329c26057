from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.training.samples import FAST, RECIPES, shaken, vary
from training.models import network
from training.release.layer_table import layer_table
from training.train import build


def test_the_layer_table_counts_as_the_arithmetic_says() -> None:
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in layer_table(network(FAST))}
    assert rows["whiten"]["multiply_adds"] == 31 * 31 * 2 * 2 * 3 * 24
    assert rows["group1_conv1"]["multiply_adds"] == 31 * 31 * 3 * 3 * 24 * 64
    assert rows["group2_pool"]["output_shape"] == [7, 7, 192]
    assert rows["group2_pool"]["stride"] == [2, 2]
    assert rows["group1_norm1"]["parameters"] == 3 * 64
    assert rows["group1_add"]["input_shapes"] == [[15, 15, 64], [15, 15, 64]]
    assert rows["head"]["multiply_adds"] == 2560
    assert sum(row["multiply_adds"] for row in rows.values()) <= 130_000_000
    rows = {row["name"]: row for row in layer_table(network(vary(FAST, width=1.5)))}
    assert [rows[f"group{i}_conv1"]["output_shape"][2] for i in (1, 2, 3)] == [96, 288, 384]
    assert sum(row["multiply_adds"] for row in layer_table(network(RECIPES["accurate"]))) <= 700_000_000
    assert {row["kind"] for row in rows.values()} >= {"convolution", "batch normalization", "max pooling", "softmax"}


def mean_instead(layer: Any, x: Any) -> Any:
    """A pooling that shows all it sees; a maximum hides what is not the largest."""
    if isinstance(layer, layers.GlobalMaxPooling2D):
        return keras.ops.mean(x, axis=(1, 2))
    return keras.ops.average_pool(x, layer.pool_size, layer.strides, layer.padding)


@pytest.mark.parametrize("name", RECIPES)
def test_an_output_depends_on_its_receptive_field_and_on_nothing_else(name: str) -> None:
    model = shaken(build(RECIPES[name]))
    for layer in model.layers:
        if isinstance(layer, layers.MaxPooling2D | layers.GlobalMaxPooling2D):
            layer.call = partial(mean_instead, layer)
    table = {row["name"]: row for row in layer_table(model) if len(row["output_shape"]) == 3}
    whole = keras.Model(model.input, [model.get_layer(name).output for name in table])
    picture = np.full((1, 32, 32, 3), 128, np.uint8)
    row, column = 17, 14
    changed = picture.copy()
    changed[0, row, column] = 255
    before, after = whole(picture), whole(changed)
    for (layer_name, entry), one, other in zip(table.items(), before, after, strict=True):
        differs = np.abs(np.asarray(one) - np.asarray(other)).max(axis=(0, 3)) > 1e-7
        field = entry["receptive_field"]
        sees = [
            [
                field["start"][axis] + i * field["step"][axis]
                <= pixel
                < field["start"][axis] + i * field["step"][axis] + field["size"][axis]
                for i in range(entry["output_shape"][axis])
            ]
            for axis, pixel in ((0, row), (1, column))
        ]
        assert np.array_equal(differs, np.outer(np.array(sees[0]), np.array(sees[1]))), layer_name
