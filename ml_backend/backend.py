"""What one process of the backend holds: the live models, the hints, the metrics. Started once, after any fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from ml_backend.access_log import AccessLog
from ml_backend.auth import BasicAuth
from ml_backend.hints import Hints
from ml_backend.live_model import LiveModels, Served
from ml_backend.metrics import Metrics
from ml_backend.payload import Limits
from ml_backend.settings import ServerSettings


class Backend:
    """The parts behind the routes."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.auth = BasicAuth(settings.user, settings.password)
        self.limits = Limits(settings.max_tasks, settings.max_text_chars)
        self.metrics = Metrics()
        self.live = LiveModels(
            settings.store_url,
            settings.model_dir,
            poll_seconds=settings.poll_seconds,
            threads=settings.model_threads,
            listener=self.metrics.listener(),
        )
        self.access_log = AccessLog()
        self.hints = Hints(self.live.store, self.metrics.lost_hint)
        self._starting = threading.Lock()
        self._started_in: int | None = None

    def start(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Load what is promoted and begin to follow the store; does nothing where that was done in this process.

        `go_on` is asked before each model whether to load it now.
        """
        if self._started_in == os.getpid():
            return
        with self._starting:
            if self._started_in != os.getpid():
                self.live.start(go_on)
                self.hints.start()
                self.access_log.start()
                self._started_in = os.getpid()

    def stop(self) -> None:
        """End the threads of this process."""
        if self._started_in == os.getpid():
            self.access_log.stop()
            self.hints.stop()
            self.live.stop()
            self._started_in = None


def health(backend: Backend) -> dict[str, Any]:
    """Answered from memory, to anyone: which version serves each project, and which rule keeps another from it."""
    served = [one for group in backend.live.served.values() for one in group]
    problem = backend.live.store_problem
    return {
        "status": "UP",
        "store": "UP" if problem is None else problem.rule,
        "projects": {one.linked.slug: _project(one) for one in served},
    }


def _project(one: Served) -> dict[str, Any]:
    return {
        "label_studio_project": one.linked.ls_project_id,
        "model_version": one.version,
        "promoted_version": one.linked.version,
        "problem": None if one.problem is None else one.problem.rule,
    }
