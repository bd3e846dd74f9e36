"""What the store tells of the loop, for `/metrics`: read by a thread, answered from memory.

The loop has no port of its own. Its runs, the hints that it has not heeded and the looks at its holdouts are in the
store, so the backend tells of them: an alert on these figures notices a loop that stopped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ml_backend.models.live_model import LinkedProject, linked_projects
from ner.errors import RuleError
from store.database.schema import HoldoutEpoch, Run
from store.database.session import Store
from store.holdout import count_looks
from store.runs import pending_hints
from store.splits import current_epoch

log = logging.getLogger(__name__)

_PAUSE = 15.0


class LoopMetrics(Collector):
    """Gauges of all linked projects; a collector of `prometheus_client`. first: seconds until the first reading."""

    def __init__(self, store: Callable[[], Store], *, first: float = 0.0) -> None:
        self._store, self._first = store, first
        self._told: tuple[GaugeMetricFamily, ...] = ()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._follow, name="loop-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges as the thread last knew them; while the store cannot be read, `ner_backend_store_up` alone."""
        return self._told

    def refresh(self) -> None:
        """Read the store once; never raises."""
        up = GaugeMetricFamily("ner_backend_store_up", "Whether the store could be read the last time: 1 or 0.")
        told: list[GaugeMetricFamily] = []
        try:
            with self._store().read() as session:
                told = list(_families(session, linked_projects(session)))
        except RuleError as error:
            log.debug("nothing is told of the loop: %s", error)
        except Exception:
            log.exception("reading what the store tells of the loop failed")
        up.add_metric([], float(bool(told)))
        self._told = (up, *told)

    def _follow(self) -> None:
        pause = self._first
        while not self._stop.wait(pause):
            pause = _PAUSE
            self.refresh()


def _families(session: Session, projects: Iterable[LinkedProject]) -> Iterator[GaugeMetricFamily]:
    seen = _gauge("loop_seen_timestamp_seconds", "When the loop last worked on the project, as Unix time.")
    hints = _gauge("waiting_hints", "Events of Label Studio that the loop has not heeded yet.")
    looks = _gauge("holdout_looks_left", "Claims that the project's holdout still allows; told from its first look on.")
    for project in projects:
        last = session.scalar(
            select(func.max(func.coalesce(Run.finished_at, Run.heartbeat_at))).where(
                Run.project_id == project.project_id
            )
        )
        if last is not None:
            seen.add_metric([project.slug], last.timestamp())
        hints.add_metric([project.slug], len(pending_hints(session, project.ls_project_id)))
        epoch = session.get(HoldoutEpoch, (project.project_id, current_epoch(session, project.project_id)))
        if epoch is not None:
            spent = count_looks(session, project.project_id, epoch.epoch)
            looks.add_metric([project.slug], max(0, epoch.looks - spent))
    yield from (seen, hints, looks)


def _gauge(name: str, help_text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"ner_backend_{name}", help_text, labels=["project"])
