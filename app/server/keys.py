"""API keys: whose request it is. A key is `Authorization: Bearer KEY` or `X-API-Key: KEY`.

Only SHA-256 digests of the keys are kept. Slow hashes such as scrypt protect passwords, which people choose and others
can guess; keys are long and random, so that nobody finds one by trying, and a request can afford a fast hash.
"""

import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.errors import Unauthorized
from app.settings import Settings

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
KEY = re.compile(r"[!-+\--~]{1,256}")
"""Visible ASCII without a comma, as a header can carry it and the setting can separate it."""
DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
SHORT = 16
"""Characters below which a key may be guessed."""

FILE_CHECK = 1.0
"""Seconds between two looks at whether the file has changed."""

logger = logging.getLogger(__name__)

SECRET = os.urandom(32)
"""With it a key that has been found is remembered: nobody can predict the hash, so looking it up tells nothing."""

Digests = tuple[tuple[bytes, str], ...]
"""The digest and the owner's name of each key."""


class BadKeys(Exception):
    """The keys that the settings name cannot be used. The message says where and why, and contains no key."""


class Keys:
    """The keys of the settings, and those of a file, which is read again when it changes."""

    def __init__(self, listed: str | None, file: Path | None) -> None:
        """`listed` has `name:key` pairs with commas between them, `file` one on each line. Raises BadKeys."""
        self._listed = _digests("CONVOSCOPE_API_KEYS", (listed or "").split(",")) if listed is not None else ()
        self._file = file
        self._version: object = None
        self._filed: Digests = ()
        self._found: dict[bytes, str] = {}
        self._next_check = 0.0
        self._troubled = False
        if file:
            self._version = _version(file)
            self._filed = _digests(str(file), _lines(file))
        if not self._listed + self._filed:
            raise BadKeys(f"{file or 'CONVOSCOPE_API_KEYS'} holds no key; expected name:key")

    @classmethod
    def of(cls, settings: Settings) -> "Keys | None":
        """The keys that `settings` ask for, None if everybody may ask. Raises BadKeys."""
        listed = settings.api_keys.get_secret_value() if settings.api_keys is not None else None
        return cls(listed, settings.api_keys_file) if listed is not None or settings.api_keys_file else None

    def owner(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The name of the key that a request's headers carry. Raises Unauthorized."""
        field, key = _sent(headers)
        self._refresh()
        hashed = hashlib.blake2b(key, key=SECRET, digest_size=16).digest()
        owner = self._found.get(hashed) or self._find(key)
        if not owner:
            raise Unauthorized.about(field, f"the key in {field} is not one that this service knows")
        self._found[hashed] = owner
        return owner

    def _find(self, key: bytes) -> str:
        """The name of a key, or "". It takes longer the more keys there are."""
        digest = hashlib.sha256(key).digest()
        owner = ""
        for known, name in self._listed + self._filed:  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, digest):
                owner = name
        return owner

    def _refresh(self) -> None:
        """Read the file again if it has changed. One that is missing or broken leaves the last keys as they are."""
        if self._file is None or time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + FILE_CHECK
        try:
            version = _version(self._file)
            if version == self._version:
                return
            self._filed = _digests(str(self._file), _lines(self._file))
        except BadKeys as error:
            if not self._troubled:
                logger.error("%s; the last keys stay in use", error)
            self._troubled = True
            return
        self._found.clear()  # some may be gone
        self._version, self._troubled = version, False
        logger.warning("%s was read again and holds %d keys", self._file, len(self._filed))


def _sent(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, bytes]:
    """The header that carries a request's key, and the key. Raises Unauthorized unless it is exactly one."""
    found: dict[bytes, str] = {}
    other = False
    for name, value in headers:
        if name == b"x-api-key":
            found[value.strip()] = "X-API-Key"
        elif name == b"authorization":
            scheme, _, credentials = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                found[credentials.strip()] = "Authorization"
            else:
                other = True
    expected = "expected Authorization: Bearer KEY, or X-API-Key: KEY"
    if not found:
        if other:
            raise Unauthorized.about("Authorization", f"the scheme of Authorization is not Bearer; {expected}")
        raise Unauthorized(f"this service needs an API key; {expected}")
    if len(found) > 1:
        raise Unauthorized.about(" and ".join(sorted(set(found.values()))), "different keys were sent; expected one")
    ((key, field),) = found.items()
    return field, key


def _version(path: Path) -> object:
    """What changes when a file is written or replaced. Raises BadKeys."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise BadKeys(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file that are neither empty nor a comment. Raises BadKeys."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise BadKeys(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise BadKeys(f"{path}: is not UTF-8; expected name:key on each line") from error
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _digests(where: str, pairs: Iterable[str]) -> Digests:
    """Each pair's digest and name; a name may have several keys, so that one can replace another. Raises BadKeys."""
    found: dict[bytes, str] = {}
    for number, pair in enumerate(pairs, 1):
        name, colon, key = pair.strip().partition(":")
        place = f"{where}: entry {number}"
        if not colon or not NAME.fullmatch(name):
            raise BadKeys(f"{place} is not name:key, with a name of letters, digits, dots, hyphens and underscores")
        digested = DIGEST.fullmatch(key)
        if not digested and not KEY.fullmatch(key):
            raise BadKeys(f"{place}: the key of {name} is not 1 to 256 visible ASCII characters without a comma")
        if not digested and len(key) < SHORT:
            message = "%s: the key of %s has %d characters and may be guessed; expected at least %d random ones"
            logger.warning(message, place, name, len(key), SHORT)
        digest = bytes.fromhex(digested[1]) if digested else hashlib.sha256(key.encode()).digest()
        if found.setdefault(digest, name) != name:
            raise BadKeys(f"{place}: {found[digest]} and {name} have the same key; expected one owner for each")
    return tuple(found.items())
