"""The log: text for people or JSON for machines, one line for each event, whatever a caller sent."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from app.settings import Settings

FIELDS = "fields"
"""The attribute of a log record that has an event's values by name; `with_fields` sets it."""

OURS = "app"
"""The logger of this package; others' are heard from WARNING on."""


class _Handler(logging.StreamHandler[Any]):
    """Standard error, as it is configured here and no one else."""


def configure(settings: Settings) -> None:
    """Log to standard error from now on, as `settings` say. What has been configured here before is replaced."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger(OURS).setLevel(settings.log_level.upper())
    logging.captureWarnings(True)


def with_fields(**fields: Any) -> dict[str, Any]:
    """The `extra` argument of a logger's methods that gives an event these values."""
    return {FIELDS: fields}


class TextFormatter(logging.Formatter):
    """Time, level, logger, message and `name=value`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{timestamp(record.created)} {record.levelname} {record.name}: {record.getMessage()}"
        line = " ".join([one_line(head), *(pair(*field) for field in _fields(record).items())])
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info)
        return "\n".join([line, *(f"    {one_line(part)}" for part in traceback.split("\n"))])


class JsonFormatter(logging.Formatter):
    """One object on one line: time, level, logger, message, the event's values and, where there is one, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as UTC with milliseconds, in the form of RFC 3339."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=2)  # the lines of a second share it
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def pair(name: str, value: object) -> str:
    """`name=value`, the value as `word`, and a list's values with commas between them."""
    return f"{name}={word(', '.join(value) if isinstance(value, list) else str(value))}"


def word(text: str) -> str:
    """The text, quoted as in JSON if it could be taken for more or less than one word of a line."""
    plain = text.isprintable() and text and not any(character in text for character in ' "\\')
    return text if plain else json.dumps(text)


def one_line(text: str) -> str:
    """The text, with escapes for everything that a terminal or a reader of lines could take for a command."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, FIELDS, {})
    return fields
