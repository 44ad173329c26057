"""The walls between the parts."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """(file, imported module) for every import statement below `folder`."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield path.name, node.module or ""


def importers(folder: str, package: str) -> set[str]:
    return {file for file, module in imported(folder) if module.split(".")[0] == package}


def test_the_service_never_imports_training() -> None:
    assert importers("app", "training") == set()


def test_training_takes_only_the_networks_side_of_the_service() -> None:
    taken = {module for _, module in imported("training") if module.split(".")[0] == "app"}
    assert taken <= {"app.errors", "app.inference", "app.inference.engine", "app.inference.metadata"}


def test_the_service_never_imports_tensorflow() -> None:
    assert importers("app", "tensorflow") | importers("app", "keras") == set()


def test_only_the_engine_imports_openvino() -> None:
    assert importers("app", "openvino") == {"engine.py"}


def test_the_batcher_knows_nothing_of_http_or_networks() -> None:
    modules = {module.split(".")[0] for file, module in imported("app") if file == "batcher.py"}
    assert not modules & {"fastapi", "starlette", "numpy", "openvino"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("app.main", {"tensorflow", "keras", "training", "matplotlib", "onnx", "openvino_telemetry"}),
        ("convoscope_client", {"tensorflow", "fastapi", "openvino", "numpy", "PIL", "app"}),
    ],
)
def test_importing_loads_nothing_it_should_not(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert module in loaded.stdout.split()
    assert not unwanted & set(loaded.stdout.split())
