import time
from typing import Any

import pytest

from app.errors import InvalidInput
from app.wire.options import check_names, validated
from app.wire.schemas import ConvolveOptions, PoolOptions

MANY = 200_000


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"padding": ["a"] * MANY}, ["/padding"]),
        ({"padding": [[1] * MANY]}, ["/padding"]),
        ({"padding": [["a"] * MANY] * 3}, ["/padding"]),
        ({"stride": [1] * MANY}, ["/stride"]),
        ({"dilation": [None] * MANY}, ["/dilation"]),
        ({"trace": {"at": ["a"] * MANY}}, ["/trace/at"]),
        ({"trace": {f"a{i}": 1 for i in range(MANY)}}, [f"/trace/a{i}" for i in range(5)] + ["/trace/at"]),
        ({"mask": {f"a{i}": 1 for i in range(MANY)}}, [f"/mask/a{i}" for i in range(5)]),
        ({f"a{i}": 1 for i in range(MANY)}, [f"/a{i}" for i in range(5)]),
        ({"boundary": ["a"] * MANY}, ["/boundary"]),
        ({"boundary": {str(i): i for i in range(MANY)}}, ["/boundary"]),
        ({"mask": "x" * MANY}, ["/mask"]),
        ({"mask": {"layer": "x" * MANY, "filter": 0, "channel": 0}}, ["/mask/layer"]),
    ],
)
def test_a_million_mistakes_cost_no_more_than_a_few(fields: dict[str, Any], named: list[str]) -> None:
    began = time.thread_time()
    with pytest.raises(InvalidInput) as error:
        validated(ConvolveOptions, {"mask": "identity"} | fields)
    assert time.thread_time() - began < 0.1
    found = [e.field for e in error.value.errors]
    assert found[: len(named)] == named
    assert len(found) <= len(named) + 3
    assert all(len(e.field) < 200 and len(e.detail) < 500 for e in error.value.errors)


def test_every_wrong_field_is_named_with_its_value_and_what_was_expected() -> None:
    with pytest.raises(InvalidInput) as error:
        validated(PoolOptions, {"kind": "min", "size": [], "stride": [1, 2, 3, 4], "hue": 1, "a/b": 2})
    assert {e.field: e.detail for e in error.value.errors} == {
        "/hue": "no option is called 'hue'; expected kind, size, stride, padding, color, display",
        "/a~1b": "no option is called 'a/b'; expected kind, size, stride, padding, color, display",
        "/kind": "kind is 'min'; expected `max` or `average`",
        "/size": "size is []; expected an integer of at least 1, or a list with one per axis",
        "/stride": "stride is [1, 2, 3, 4]; expected an integer of at least 1, or a list with one per axis; "
        "the size where absent",
    }


def test_what_is_right_becomes_the_model() -> None:
    fields = {"mask": {"layer": "whiten", "filter": 1, "channel": 0}, "trace": {"at": [0, 0]}, "padding": [1, [2, 3]]}
    found = validated(ConvolveOptions, fields)
    assert found.model_dump(exclude_defaults=True) == fields


def test_an_option_of_a_url_is_known_and_given_once() -> None:
    check_names([("layer", "a"), ("top", "1"), ("layer", "b")], ["layer", "top"], {"layer"})
    with pytest.raises(InvalidInput, match="top is given more than once; expected one value"):
        check_names([("top", "1"), ("top", "1")], ["layer", "top"], {"layer"})
    with pytest.raises(InvalidInput, match="no option is called 'hue'; expected one of layer, top"):
        check_names([("hue", "1")], ["layer", "top"])
