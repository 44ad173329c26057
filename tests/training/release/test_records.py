"""What was recorded of an artifact stays on its card as long as it is answered as it was."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.release import artifact, records

WEIGHTS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
SERVED = {"accuracy": 0.9, "flagged": 0.05, "precision": "int8"}
CORRUPTED = {"accuracy": 0.7, "precision": "float32"}
PHOTOGRAPHS = {"mean_per_class": 0.7, "count": 73, "labels": 8}


def write_graph(path: Path, weights: NDArray[Any], operation: str = "MatMul") -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(operation, ["image", "kernel"], ["logits"])],
        "network",
        [value("image", TensorProto.FLOAT, ["N", 4])],
        [value("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weights, "kernel")],
    )
    onnx.save(helper.make_model(graph), path)


def metadata(temperature: float = 1.5, quantiles: tuple[float, ...] = (-0.5, 0.25, 0.5)) -> dict[str, Any]:
    return {
        "accuracy": {"test": 0.9, "served": None},
        "calibration": {"temperature": temperature},
        "out_of_distribution": {"method": "discriminant", "quantiles": list(quantiles)},
    }


@pytest.fixture
def before(tmp_path: Path) -> dict[str, Any]:
    """The metadata of an artifact in the folder `old`, of which much was recorded."""
    (tmp_path / "old").mkdir()
    names = ("model.onnx", "model.int8.onnx")
    for name in names:
        write_graph(tmp_path / "old" / name, WEIGHTS)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    found = metadata()
    found["accuracy"] |= {"served": SERVED, "corrupted": CORRUPTED, "photographs": PHOTOGRAPHS}
    return found | {"files": {name: artifact.digest(tmp_path / "old" / name) for name in names}}


def kept(before: dict[str, Any], folder: Path, after: dict[str, Any]) -> set[str]:
    """What `after`, the metadata of the artifact in `new`, has of the records of the one in `old`."""
    records.keep(before, folder / "old", after, folder / "new")
    found = {kind for kind in records.RECORDS if after["accuracy"].get(kind)}
    assert all(after["accuracy"][kind] == before["accuracy"][kind] for kind in found)
    return found


def test_what_differs_by_rounding_stays_to_the_byte_and_so_do_the_records(
    tmp_path: Path, before: dict[str, Any]
) -> None:
    write_graph(tmp_path / "new" / "model.onnx", WEIGHTS * np.float32(1 + 1e-6))
    after = metadata(quantiles=(-0.500001, 0.25, 0.5))
    assert kept(before, tmp_path, after) == {"served", "corrupted", "photographs"}
    for name, digest in before["files"].items():
        assert artifact.digest(tmp_path / "new" / name) == digest
    assert after["out_of_distribution"] == before["out_of_distribution"]


@pytest.mark.parametrize(
    ("name", "expected"), [("model.onnx", {"served"}), ("model.int8.onnx", {"corrupted"})], ids=["float32", "int8"]
)
@pytest.mark.parametrize(
    ("factor", "operation", "kind"), [(1.01, "MatMul", np.float32), (1, "Gemm", np.float32), (1, "MatMul", np.float64)]
)
def test_another_graph_drops_what_it_gave(
    tmp_path: Path, before: dict[str, Any], name: str, expected: set[str], factor: float, operation: str, kind: Any
) -> None:
    write_graph(tmp_path / "new" / name, (WEIGHTS * factor).astype(kind), operation)
    digest = artifact.digest(tmp_path / "new" / name)
    assert kept(before, tmp_path, metadata()) == expected
    assert artifact.digest(tmp_path / "new" / name) == digest


@pytest.mark.parametrize("after", [metadata(temperature=1.6), metadata(quantiles=(-0.5, 0.26, 0.5))])
def test_another_scale_of_the_answers_drops_all(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert kept(before, tmp_path, after) == set()


def test_a_damaged_graph_is_not_taken_back(tmp_path: Path, before: dict[str, Any]) -> None:
    (tmp_path / "old" / "model.int8.onnx").unlink()
    write_graph(tmp_path / "old" / "model.onnx", WEIGHTS * np.float32(1 + 1e-6))
    assert kept(before, tmp_path, metadata()) == {"served", "corrupted", "photographs"}
    assert artifact.digest(tmp_path / "new" / "model.onnx") == before["files"]["model.onnx"]
