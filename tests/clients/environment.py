"""Other projects' packages, installed apart from ours: they bring other versions of our packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def python_with(folder: Path, *requirements: str) -> Path:
    """An interpreter with these packages in a new virtual environment in `folder`; skips if there is no registry."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    interpreter = folder / "bin" / "python"
    # Compiling all modules would take half of the time, and most are never imported.
    install = "install", "--quiet", "--no-compile", "--disable-pip-version-check"
    run_or_skip(folder, str(interpreter), "-m", "pip", *install, *requirements)
    return interpreter


def run_or_skip(folder: Path, *command: str) -> None:
    """Install something in `folder`; skips the test if that fails, unless everything is required."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        assert "CONVOSCOPE_REQUIRE_ALL" not in os.environ, done.stderr
        pytest.skip(f"the clients cannot be installed here: {done.stderr[-300:]}")


def run(folder: Path, *command: str | Path) -> str:
    """What a program that has to succeed prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
