"""Copy the service's modules that describe what goes over the wire into the client, which cannot import the service."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = {"errors": "app/errors.py", "metadata": "app/inference/metadata.py", "models": "app/wire/schemas.py"}


def copies() -> dict[Path, str]:
    """Each file to write, with its text."""
    folder = ROOT / "client" / "convoscope_client"
    return {folder / f"{name}.py": _copied(source) for name, source in SOURCES.items()}


def _copied(source: str) -> str:
    text = (ROOT / source).read_text()
    for name, other in SOURCES.items():
        module = other.removesuffix(".py").replace("/", ".")
        text = text.replace(f"from {module} import", f"from convoscope_client.{name} import")
    return f"# A copy of {source}: change it there, and run `python client/copy_wire.py`.\n{text}"


if __name__ == "__main__":
    for path, text in copies().items():
        path.write_text(text)
