"""Prometheus metrics, summed over the worker processes where there are several.

`serve` sets PROMETHEUS_MULTIPROC_DIR where there are several workers, before `prometheus_client` is first imported.
Then each process writes its numbers to that folder, and any process answers for all. Without the variable, a process
knows its own numbers only.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from ml_backend.models.live_model import Listener
from ml_backend.models.remote_engine import EngineListener
from ner.models.network import ENGINES, EngineName

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0)
_UNMATCHED = "unmatched"


class Metrics:
    """The backend's counters; each app has its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._shared: list[Collector] = []
        self._folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        registry = None if self._folder else self._registry
        self._by_answer: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "ner_backend_requests", "Requests answered.", ["endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "ner_backend_request_seconds", "Time to answer.", ["endpoint"], buckets=_SECONDS, registry=registry
        )
        self._tasks = Counter("ner_backend_tasks", "Tasks predicted.", ["project"], registry=registry)
        self._serving = Gauge(
            "ner_backend_model_serving",
            "Worker processes that serve a version.",
            ["project", "version"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._failures = Counter(
            "ner_backend_model_load_failures",
            "Promoted models that could not be loaded.",
            ["project"],
            registry=registry,
        )
        self._engines = Gauge(
            "ner_backend_engine",
            "Worker processes whose logits come from this engine.",
            ["project", "engine"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._windows = Counter(
            "ner_backend_engine_windows", "Windows of tokens run.", ["project", "engine"], registry=registry
        )
        self._fallbacks = Counter(
            "ner_backend_engine_fallbacks",
            "Times that the local bundle took over from the inference server.",
            ["project", "reason"],
            registry=registry,
        )
        self._hints = Counter("ner_backend_hints", "Webhook events taken.", registry=registry)
        self._lost = Counter("ner_backend_hints_lost", "Webhook events that were let go of.", registry=registry)

    def answered(self, endpoint: str | None, status: int, seconds: float) -> None:
        """Count one answer; `endpoint` is None where no route matched."""
        key = endpoint or _UNMATCHED, status
        if key not in self._by_answer:
            self._by_answer[key] = self._requests.labels(key[0], str(status)), self._seconds.labels(key[0])
        requests, times = self._by_answer[key]
        requests.inc()
        times.observe(seconds)

    def predicted(self, project: str, tasks: int) -> None:
        """Count predicted tasks."""
        self._tasks.labels(project).inc(tasks)

    def hinted(self) -> None:
        """Count a webhook event."""
        self._hints.inc()

    def lost_hint(self) -> None:
        """Count a webhook event that was lost."""
        self._lost.inc()

    def listener(self) -> Listener:
        """What the live models report to."""
        return Listener(self._changed, lambda project: self._failures.labels(project).inc())

    def engine_listener(self) -> EngineListener:
        """What the inference server's networks report to; without an inference server, nobody does."""
        return EngineListener(
            answered=lambda project, engine: self._windows.labels(project, engine).inc(),
            fell_back=lambda project, reason: self._fallbacks.labels(project, reason).inc(),
            changed=self._engine_changed,
        )

    def share(self, collector: Collector) -> None:
        """Tell also what this collector knows; every process knows the same of the store, so nothing is summed."""
        self._shared.append(collector)
        self._registry.register(collector)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        if not self._folder:
            return generate_latest(self._registry)
        _forget_the_dead(Path(self._folder))
        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        for collector in self._shared:
            merged.register(collector)
        return generate_latest(merged)

    def _changed(self, project: str, old: str | None, new: str | None) -> None:
        if old is not None:
            self._serving.labels(project, old).set(0)
        if new is not None:
            self._serving.labels(project, new).set(1)

    def _engine_changed(self, project: str, engine: EngineName) -> None:
        for name in ENGINES:
            self._engines.labels(project, name).set(int(name == engine))


def _forget_the_dead(folder: Path) -> None:
    """Take the gauges of workers that are gone out of the sums; their counters stay."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = re.search(r"_([0-9]+)\.db$", file.name)
        if pid and not Path("/proc", pid[1]).exists():
            mark_process_dead(int(pid[1]), str(folder))  # type: ignore[no-untyped-call]
