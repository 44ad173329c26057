"""Checks Kubernetes objects, in YAML on standard input, against the schemas that other projects publish as packages.

`test_kubernetes.py` runs it in an environment with those packages. It prints one line for each object that is wrong;
a field that the schema does not know is wrong, too, although a cluster would silently drop some of those.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = "1.34"
"""Of Kubernetes."""

BY_HAND = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
"""KServe's kinds: its package has a class for each, whose import would need all of its dependencies."""

PLAIN: dict[str, type] = {"str": str, "int": int, "bool": bool}


def main() -> None:
    import yaml

    for document in yaml.safe_load_all(sys.stdin):
        for mistake in mistakes(document):
            print(f"{document['kind']} {document['metadata']['name']}: {mistake!r}")


def mistakes(document: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one object."""
    kind = document["kind"]
    if kind in BY_HAND:
        yield from _kserve(document, BY_HAND[kind], kind)
    elif kind in ("ScaledObject", "ServiceMonitor"):
        yield from _operator(document)
    else:
        import kubernetes_validate

        try:
            kubernetes_validate.validate(document, VERSION, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            yield str(error)


def _operator(document: dict[str, Any]) -> Iterator[str]:
    """Of KEDA and the Prometheus Operator: models of pydantic, generated from their definitions."""
    from cloudcoil.models.keda.v1alpha1 import ScaledObject
    from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

    model = ScaledObject if document["kind"] == "ScaledObject" else ServiceMonitor
    try:
        read = model.model_validate(document).model_dump(by_alias=True, exclude_unset=True, mode="json")
    except ValueError as error:
        yield str(error)
        return
    if read != document:  # it leaves out what it does not know
        yield f"of {document} only {read} is known"


def _kserve(value: Any, kind: str, where: str) -> Iterator[str]:
    """Compare the names and the plain types of KServe's fields; its containers are Kubernetes' own, as is the rest."""
    if kind.startswith("list[") and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _kserve(item, kind[5:-1], f"{where}/{index}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):
            yield f"{where} is {value!r}, expected {kind}"
    elif kind == "V1Container":
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": {"containers": [value]}}
        yield from (f"{where}: {mistake}" for mistake in mistakes(pod))
    elif fields := _fields(kind):
        if not isinstance(value, dict):
            yield f"{where} is {value!r}, expected {kind}"
            return
        for name, item in value.items():
            if name in fields:
                yield from _kserve(item, fields[name], f"{where}/{name}")
            else:
                yield f"{where} has no {name}"


def _fields(kind: str) -> dict[str, str]:
    """The fields of one of KServe's classes and their types, read from its source; empty if it is not KServe's."""
    found = importlib.util.find_spec("kserve")
    assert found
    assert found.origin
    for file in (Path(found.origin).parent / "models").glob("v1*.py"):
        if file.stem.replace("_", "") != kind.lower():
            continue
        (body,) = [node.body for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]
        tables = {node.targets[0].id: ast.literal_eval(node.value) for node in body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
        return {tables["attribute_map"][name]: kind for name, kind in tables["openapi_types"].items()}
    return {}


if __name__ == "__main__":
    main()
