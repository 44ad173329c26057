from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference import engine
from app.inference.engine import Engine, supported_precision
from app.inference.metadata import PrecisionName
from tests.conftest import MODELS, ClientFactory, until

Set = tuple[NDArray[np.uint8], NDArray[np.uint8]]

ALL: tuple[PrecisionName, ...] = ("float32", "bfloat16", "int8")


@pytest.mark.parametrize(
    ("wanted", "exact", "has", "expected"),
    [
        ("auto", ALL, ("bfloat16", "int8", "float32"), "bfloat16"),
        ("auto", ALL, ("int8", "float32", "bfloat16"), "int8"),
        ("auto", ALL, ("float32",), "float32"),
        ("auto", ("float32", "int8"), ("bfloat16", "int8", "float32"), "int8"),
        ("auto", ("float32", "bfloat16"), ("int8", "float32", "bfloat16"), "float32"),
        ("int8", ("float32",), ("int8", "float32"), "int8"),
        ("int8", ALL, ("float32", "bfloat16"), "bfloat16"),
        ("bfloat16", ALL, ("int8", "float32"), "float32"),
        ("bfloat16", ALL, ("int8", "float32", "bfloat16"), "bfloat16"),
        ("float32", ALL, ("bfloat16", "int8", "float32"), "float32"),
    ],
)
def test_the_fastest_exact_precision_of_the_processor_is_used_or_what_is_asked_for(
    wanted: Literal["auto"] | PrecisionName,
    exact: tuple[PrecisionName, ...],
    has: tuple[PrecisionName, ...],
    expected: PrecisionName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "precisions", lambda: has)
    assert supported_precision(wanted, exact) == expected


@pytest.mark.parametrize(
    ("features", "bfloat16", "expected"),
    [
        ("flags : avx2 avx512_vnni avx512_bf16 amx_bf16 amx_int8", True, ("bfloat16", "int8", "float32")),
        ("flags : avx2 avx512_vnni avx512_bf16", True, ("int8", "float32", "bfloat16")),
        ("flags : avx2 avx_vnni", False, ("int8", "float32")),
        ("flags : avx avx2", False, ("int8", "float32")),
        ("flags : avx sse4_2", False, ("float32",)),
        (None, False, ("float32",)),
    ],
)
def test_which_precision_is_fastest_follows_from_the_processor(
    features: str | None,
    bfloat16: bool,
    expected: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Core:
        def get_property(self, *_: object) -> list[str]:
            return ["FP32", "INT8", *(["BF16"] if bfloat16 else [])]

    about = tmp_path / "cpuinfo"
    if features is not None:
        about.write_text(features)
    monkeypatch.setattr(engine, "CPUINFO", about)
    monkeypatch.setattr(engine, "_CORE", Core())
    assert engine.precisions.__wrapped__() == expected


@pytest.mark.parametrize("name", ["accurate", "fast", "tutorial"])
def test_int8_says_what_float32_says(name: str, cifar10: Set) -> None:
    images, _ = cifar10
    exact = Engine(MODELS / name / "model.onnx", precision="float32").logits(list(images))
    rounded = Engine(MODELS / name / "model.int8.onnx", precision="int8").logits(list(images))
    assert (exact.argmax(axis=1) == rounded.argmax(axis=1)).mean() >= 0.96
    assert 0 < np.abs(exact - rounded).mean() < 0.05 * np.abs(exact).mean()


@pytest.mark.skipif(
    supported_precision("int8", ALL) != "int8", reason="this processor does not add up eight-bit products"
)
def test_all_convolutions_but_the_first_really_run_in_int8() -> None:
    compiled = engine._compiled(MODELS / "fast" / "model.int8.onnx", ["logits"], "int8", 1)
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [str(node["primitiveType"].astype(str)) for node in nodes if node["layerType"].astype(str) == "Convolution"]
    assert len(kinds) == 10
    assert sum(kind.endswith("I8") for kind in kinds) == 9


def test_the_maps_of_a_layer_do_not_depend_on_the_precision_of_predictions(
    make_client: ClientFactory, frog: bytes
) -> None:
    exact, rounded = (
        make_client(precision=precision).post(
            "/feature-maps", params={"layer": "group3_act3", "decimals": 6}, files={"image": frog}
        )
        for precision in ("float32", "int8")
    )
    assert exact.status_code == 200
    assert exact.content == rounded.content


def test_every_size_of_batch_is_prepared_before_it_is_met(
    make_client: ClientFactory, frog: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    prepare = Engine.prepare

    def watched(engine: Engine, sizes: Iterable[int]) -> None:
        prepare(engine, sizes)
        prepared.extend(sizes)

    monkeypatch.setattr(Engine, "prepare", watched)
    client = make_client(max_batch=14)
    assert client.post("/predict", files={"image": frog}).status_code == 200
    until(lambda: len(prepared) >= 6)
    assert prepared == [1, 12, 2, 3, 4, 8]
