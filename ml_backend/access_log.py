"""One line of the log for each request, written together a few times a second.

A line costs as much as reading the request does; a hundred at once cost little more than one, and no request waits
for the disk. A process that is killed takes the lines of its last moments with it; warnings and errors are not kept
back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.25
# Where no thread writes them (yet), the oldest lines are let go of.
_CAPACITY = 10_000
_FORM = "%s %s %d %.1f ms%s"


class AccessLog:
    """Takes what is to be logged, and the thread that writes it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, tuple[object, ...]]] = deque(maxlen=_CAPACITY)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and write what waits."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.write()

    def add(self, method: str, route: str, status: int, seconds: float, tail: str = "") -> None:
        """Remember an answer; its line carries the time of now."""
        if log.isEnabledFor(logging.INFO):
            self._waiting.append((time.time(), (method, route, status, 1000 * seconds, tail)))

    def write(self) -> None:
        """Log what waits."""
        while self._waiting:
            created, values = self._waiting.popleft()
            record = log.makeRecord(log.name, logging.INFO, "", 0, _FORM, values, None)
            record.created, record.msecs = created, created % 1 * 1000
            log.handle(record)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self.write()
