"""Write command-line.md, what `convoscope COMMAND --help` prints: `python docs/reference/command_line.py`."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("command-line.md")
HEAD = """# Command line

Written by `python docs/reference/command_line.py`. The command is in the environment that `make serve` makes:
`.venv/bin/convoscope`. A failure is one line on standard error and exit code 1, a wrong call exit code 2.
"""


def printed(*arguments: str) -> str:
    """The help of `convoscope`, or of one of its commands, 100 characters wide and without colours."""
    code = "import sys; from app.cli import main; sys.argv[0] = 'convoscope'; main()"
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    command = [sys.executable, "-c", code, *arguments, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.rstrip()


def page() -> str:
    """The whole page, a section for each command."""
    overview = printed()
    commands = re.findall(r"^    ([a-z][a-z-]*)(?:  |$)", overview, re.MULTILINE)
    sections = [f"## {name}\n\n```text\n{printed(name)}\n```\n" for name in commands]
    return "\n".join([HEAD, f"```text\n{overview}\n```\n", *sections])


if __name__ == "__main__":
    PAGE.write_text(page())
