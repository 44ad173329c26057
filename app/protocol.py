"""uvicorn's HTTP/1.1, with a breather for callers who were refused."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BREATHER = 0.05
"""Seconds. A queue of 64 is worked off in about half of it."""


class Protocol(HttpToolsProtocol):
    """Gives each request's scope a `breather`: a call that leaves what comes next on this connection unread a while.

    A caller who is refused for want of room is told when to come back. Whoever asks again at once instead would be
    refused so often that answers had no processor left; TCP keeps their next request until we look at it.
    """

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["breather"] = self.breather  # type: ignore[typeddict-unknown-key]

    def breather(self) -> None:
        if not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_later(BREATHER, self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()
