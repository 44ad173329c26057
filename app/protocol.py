"""uvicorn's HTTP/1.1, which refuses sooner: without a task, and with a breather."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

BREATHER = 0.06
"""Seconds; about as long as an answer takes where the queue is short."""


class Protocol(HttpToolsProtocol):
    """Where the application has a `refuse`, it is asked first; what it gives, a whole answer in bytes, is sent at once.

    A caller who is refused for want of room is told when to come back. Whoever asks again at once would be refused so
    often that answers had no processor left, so what comes next on that connection stays unread for a while.
    """

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        answer = app.refuse(cycle.scope) if hasattr(app, "refuse") else None
        if answer is None:
            super()._start_asgi_task(cycle, app)
            return
        cycle.response_started = cycle.response_complete = True  # what is still to come of the body is then passed over
        self.transport.write(answer)
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        if not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_later(BREATHER, self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()
