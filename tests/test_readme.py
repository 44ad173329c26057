"""The README's examples, executed as they stand there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def against(client: httpx.Client, example: str) -> str:
    """The example, aimed at the test's service instead of the default port."""
    assert "http://127.0.0.1:8000" in example
    return example.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/"))


def example(language: str, containing: str) -> str:
    (found,) = [block for block in blocks(language) if containing in block]
    return found


def test_the_curl_example_answers_what_the_readme_says(client: httpx.Client) -> None:
    command = against(client, example("console", "/predict"))
    lines = command.splitlines()
    assert lines[0].startswith("$ curl ")
    result = subprocess.run(["sh", "-ec", lines[0][2:]], cwd=ROOT, capture_output=True, text=True, check=True)
    said, shown = httpx.Response(200, text=result.stdout).json(), httpx.Response(200, text="".join(lines[1:])).json()
    assert said.keys() == shown.keys()
    assert said["predictions"][0].keys() == shown["predictions"][0].keys()
    assert said["predictions"][0]["label"] == shown["predictions"][0]["label"] == "frog"
    assert said["predictions"][0]["probability"] == pytest.approx(shown["predictions"][0]["probability"], abs=0.02)


def test_the_pooling_example_answers_what_the_readme_says(client: httpx.Client) -> None:
    command, shown = against(client, example("console", "/pool")).splitlines()
    result = subprocess.run(["sh", "-ec", command[2:]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == json.loads(shown)


def test_the_examples_of_the_convolution_manual(client: httpx.Client, tmp_path: Path) -> None:
    manual = (ROOT / "docs" / "reference" / "convolve.md").read_text()
    question, answer, pooling, pooled = (json.loads(block) for block in blocks("json", manual))
    assert client.post("/convolve", json=question).json() == answer
    assert client.post("/pool", json=pooling).json() == pooled
    (command,) = blocks("sh", manual)
    command = against(client, command).replace("edges.png", str(tmp_path / "edges.png"))
    subprocess.run(["sh", "-ec", command], cwd=ROOT, check=True)
    assert (tmp_path / "edges.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_of_the_convolution_manual(client: httpx.Client) -> None:
    manual = (ROOT / "docs" / "reference" / "convolve.md").read_text()
    rows = re.findall(r"^\| `(same|valid|full)` \| (\d x \d) \| (\d x \d) \| (\d x \d) \|$", manual, re.MULTILINE)
    assert len(rows) == 3
    for padding, *sizes in rows:
        for stride, size in enumerate(sizes, start=1):
            body = {"input": [[0] * 5] * 5, "mask": [[0] * 3] * 3, "padding": padding, "stride": stride}
            assert client.post("/convolve", json=body).json()["shape"] == [int(n) for n in size.split(" x ")]
    masks = re.search(r"^\| name \| for \|\n(.*?)\n\n", manual, re.MULTILINE | re.DOTALL)
    assert masks
    listed = {mask["name"] for mask in client.get("/masks").json()["masks"]}
    assert set(re.findall(r"`(\w+)`", masks[1])) == listed


@pytest.mark.parametrize("page", ["README.md", "docs/reference/look-inside.md"])
def test_what_is_shown_of_the_inside_works(client: httpx.Client, tmp_path: Path, page: str) -> None:
    commands = [
        c for block in blocks("sh", (ROOT / page).read_text()) for c in block.splitlines() if c.startswith("curl")
    ]
    assert len(commands) >= 2
    for command in commands:
        name = command.split(" -o ")[1]
        run = against(client, command).replace(f" -o {name}", f" -o {tmp_path / name}")
        subprocess.run(["sh", "-ec", run], cwd=ROOT, check=True)
        assert (tmp_path / name).read_bytes()[:4] in (b"\x89PNG", b"PK\x03\x04")


def test_the_python_example_prints_what_the_readme_says(client: httpx.Client) -> None:
    code = against(client, example("python", "Client"))
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    (expected,) = re.findall(r"# prints (.*)$", code, re.MULTILINE)
    assert result.stdout.strip() == expected


def test_the_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"serve", "test"} <= named <= targets
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("serve", "test", "lint", "train", "lock"):
        assert f"make {target} " in printed


def test_the_links_and_files_it_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_no_file_names_a_registry() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hosts = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|--index-url|--extra-index|deb\.debian|toronto\.edu")
    for name in tracked.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ""} and path.is_file() and path != Path(__file__):
            assert not hosts.search(path.read_text(errors="replace")), name
