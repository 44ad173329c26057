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


ROOMS = {
    "settings": set(),
    "errors": set(),
    "metrics": set(),
    "background": set(),
    "deadline": {"errors"},
    "processors": set(),
    "compute": {"deadline", "errors", "processors"},
    "inference": {"settings", "errors", "metrics", "deadline", "processors"},
    "imaging": {"errors", "deadline"},
    "convolution": {"errors", "deadline"},
    "interpret": {"errors", "deadline", "inference", "imaging"},
    "wire": {"settings", "errors", "deadline", "inference", "imaging", "convolution", "interpret"},
    "routes": {
        *("settings", "errors", "metrics", "background", "deadline", "compute", "wire"),
        *("inference", "imaging", "convolution", "interpret"),
    },
    "batch": {"settings", "errors", "deadline", "processors", "wire", "inference", "imaging"},
    "server": {"settings", "errors", "metrics", "background", "processors", "inference", "routes", "wire"},
    "main": {"settings", "errors", "inference", "routes", "server"},
    "cluster": {"settings", "batch", "inference", "server"},
    "cli": {"settings", "errors", "batch", "cluster", "routes", "server", "main"},
    "__main__": {"cli"},
}
"""Which part of the service may import which others; nothing stands below what it imports."""


def edges(folder: Path) -> set[tuple[str, str]]:
    """(importing part, imported part) for every import within the package `folder`, from one part to another."""
    found = set()
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder).parts
        part = inside[0] if len(inside) > 1 else path.stem
        for node in ast.walk(ast.parse(path.read_text())):
            found |= {(part, other) for other in parts(node, folder.name) if other != part}
    return found


def parts(node: ast.AST, package: str) -> set[str]:
    """The parts of `package` that an import statement names."""
    if isinstance(node, ast.ImportFrom):
        modules = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    within = [module.split(".")[1:] for module in modules if module.split(".")[0] == package]
    return {names[0] for names in within if names and names[0] != "__version__"}


def test_parts_import_only_what_stands_below_them() -> None:
    assert {(part, other) for part, other in edges(ROOT / "app") if other not in ROOMS.get(part, ())} == set()


def test_the_table_of_rooms_has_no_cycle_and_names_every_part() -> None:
    names = {path.stem for path in (ROOT / "app").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names - {"__init__"} == ROOMS.keys()
    below: set[str] = set()
    while ready := {part for part, others in ROOMS.items() if part not in below and others <= below}:
        below |= ready
    assert below == ROOMS.keys()


def importers(folder: str, package: str) -> set[str]:
    return {file for file, module in imported(folder) if module.split(".")[0] == package}


def test_the_service_never_imports_training() -> None:
    assert importers("app", "training") == set()


def test_training_takes_only_the_networks_side_of_the_service() -> None:
    taken = {module for _, module in imported("training") if module.split(".")[0] == "app"}
    assert taken <= {
        "app",
        "app.errors",
        "app.imaging",
        "app.inference",
        "app.inference.engine",
        "app.inference.metadata",
    }


def test_processors_are_counted_in_one_place() -> None:
    programs = [path for folder in ("app", "training") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in programs if "cpu_count" in path.read_text()] == ["processors.py"]


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
        ("app.cli", {"fastapi", "httpx", "numpy", "openvino", "pydantic", "uvicorn"}),
        ("convoscope_client", {"tensorflow", "fastapi", "openvino", "numpy", "PIL", "app"}),
    ],
)
def test_importing_loads_nothing_it_should_not(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert module in loaded.stdout.split()
    assert not unwanted & set(loaded.stdout.split())
