"""The process's file descriptors, some of which must stay free for its own files when clients have all others."""

import logging
import resource
import time

logger = logging.getLogger(__name__)

RESERVED = 32
"""Descriptors that no connection may have; a quarter of them if there are few."""

QUIET = 60.0
"""Seconds until it is said again that there are too few."""


class Descriptors:
    """Whether there is room for another connection; says it in the log once if there is not."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit` is what the system allows, which it is asked for by default."""
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
        self._silent_until = 0.0

    def reject(self, descriptor: int) -> bool:
        """Whether a new connection must be rejected because its descriptor is one of the last."""
        if self._limit == resource.RLIM_INFINITY or descriptor < self._limit - min(RESERVED, self._limit // 4):
            return False
        if time.monotonic() >= self._silent_until:
            how = "reject new connections until some are closed (ulimit -n allows more)"
            logger.warning("%d of %d file descriptors are in use: %s", descriptor, self._limit, how)
            self._silent_until = time.monotonic() + QUIET
        return True
