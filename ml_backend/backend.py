"""What one process of the backend holds: the live models, the hints, the metrics and the threads that answer.

Everything but the health checks asks for basic auth (RFC 7617).
"""

from __future__ import annotations

import base64
import hmac
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ml_backend.hints import Hints
from ml_backend.metrics.loop_state import LoopMetrics
from ml_backend.metrics.prelabels import PrelabelMetrics
from ml_backend.metrics.serving import Metrics
from ml_backend.models.live_model import LiveModels, Served, leave
from ml_backend.models.remote_engine import open_engine
from ml_backend.payload import Limits
from ml_backend.settings import ServerSettings
from ner.models.model_library import ModelLibrary

ASK = {"WWW-Authenticate": 'Basic realm="ner-annotation-loop", charset="UTF-8"'}
_QUICK_THREADS = 2


class BasicAuth:
    """Basic auth for one user. The comparison takes the same time wherever a guess goes wrong."""

    def __init__(self, user: str, password: str) -> None:
        self._expected = base64.b64encode(f"{user}:{password}".encode()) if user else b""

    def allows(self, authorization: str | None) -> bool:
        """Whether the value of an Authorization header names the user; without a user, everyone is let in."""
        if not self._expected:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self._expected) and scheme.lower() == "basic"


class Backend:
    """The parts behind the routes.

    `threads` answers /predict: at most `settings.threads` requests at once. `quick_threads` answers everything else,
    from memory.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.limits = Limits(settings.max_tasks, settings.max_text_chars)
        self.auth = BasicAuth(settings.user, settings.password)
        self.metrics = Metrics()
        self.engine = open_engine(settings, self.metrics.engine_listener())
        self.live = LiveModels(
            settings.store_url,
            ModelLibrary.at(settings.model_dir, settings.model_store, settings.cache_mb),
            poll_seconds=settings.poll_seconds,
            threads=settings.model_threads,
            listener=self.metrics.listener(),
            attach=self.engine.attach if self.engine is not None else leave,
        )
        self.hints = Hints(self.live.store, self.metrics.lost_hint)
        self.prelabels = PrelabelMetrics(self.live.store, first=settings.poll_seconds)
        self.metrics.share(self.prelabels)
        self.loop_metrics = LoopMetrics(self.live.store, first=settings.poll_seconds)
        self.metrics.share(self.loop_metrics)
        self.threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="predict")
        self.quick_threads = ThreadPoolExecutor(_QUICK_THREADS, thread_name_prefix="quick")

    def start(self) -> None:
        """Load the promoted models, and begin to follow the store. Returns when the models have proven themselves."""
        if self.engine is not None:
            self.engine.start()
        self.live.start()
        self.hints.start()
        self.prelabels.start()
        self.loop_metrics.start()

    def stop(self) -> None:
        """End the threads. A request that is still being answered is not waited for."""
        for threads in (self.threads, self.quick_threads):
            threads.shutdown(wait=False, cancel_futures=True)
        self.prelabels.stop()
        self.loop_metrics.stop()
        self.hints.stop()
        self.live.stop()
        if self.engine is not None:
            self.engine.stop()


def health(backend: Backend) -> dict[str, Any]:
    """Which version serves each project, and which rule keeps a promoted version out of service; from memory."""
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
        "engine": one.engine,
        "engine_problem": None if one.engine_problem is None else one.engine_problem.rule,
    }
