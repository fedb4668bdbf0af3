"""gunicorn's worker with threads, but for how it stops."""

from __future__ import annotations

from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A worker that, told to stop, serves who is connected and has everybody else refused.

    gunicorn's own goes on listening until its last request is done, and takes nobody in: who connects meanwhile
    waits and is then reset. A proxy that has another instance goes there if it is refused, and not if a POST is
    reset: that may have been done.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take connections in from now on, or no more; if this worker is to stop, take in those that wait."""
        super().set_accept_enabled(enabled)
        while not (enabled or self.alive) and self.sockets:
            self._close(self.sockets.pop())

    def _close(self, listener: Any) -> None:
        count = -1
        while count != self.nr_conns:
            count = self.nr_conns
            self.accept(listener)
        listener.close()
