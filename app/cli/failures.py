"""A failure is one line on standard error."""

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pydantic import ValidationError


def fail(reason: str, code: int = 1) -> NoReturn:
    """Say why, in one line, and exit."""
    line = f"convoscope: {' '.join(reason.split())}"
    if code == 1:
        sys.exit(line)
    print(line, file=sys.stderr)
    sys.exit(code)


def fail_for_settings(error: "ValidationError") -> NoReturn:
    """Name each setting that is wrong, its value and what was expected, and exit."""
    for problem in error.errors():
        name = "".join(f"{part}: " for part in problem["loc"])
        # What is wrong with several settings says their values; its input is all settings, with the keys.
        found = f"; found {problem['input']!r:.80}" if name else ""
        print(f"convoscope: {name}{problem['msg']}{found}", file=sys.stderr)
    sys.exit(1)
