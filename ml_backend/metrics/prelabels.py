"""What annotators did with the pre-labels, for `/metrics`: counted from the store by a thread, answered from memory.

The thread reads only what is new since its last turn. Its first turn may read many annotations, so it works in small
parts and pauses after each, to leave the processor to `/predict`. Nothing is told before the first turn has ended:
counts that begin at 0 and then rise would look like regions that were annotated just now.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from ml_backend.models.live_model import LinkedProject, linked_projects
from ner.errors import RuleError
from store.database.session import ROWS_AT_ONCE, Store
from store.predictions import ReviewedPrelabel, reviewed_prelabels

log = logging.getLogger(__name__)

_PAUSE = 60.0
# The thread works at most this share of the time.
_SHARE = 0.05
UNKNOWN = "unknown"


@dataclass(slots=True)
class _Counted:
    """One project so far. texts: by version; regions: by (version, entity type, outcome)."""

    last: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    regions: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, one: ReviewedPrelabel) -> None:
        """Count one annotation."""
        version = UNKNOWN if one.version is None or one.edits is None else one.version
        self.last = one.annotation_version_id
        self.texts[version] += 1
        for name, edits in (one.edits or {}).items():
            for outcome, number in asdict(edits).items():
                self.regions[version, name, outcome] += number


class PrelabelMetrics(Collector):
    """Counters of all linked projects; a collector of `prometheus_client`.

    first: seconds until the thread's first turn. share: of the time, at most, in which the thread works.
    """

    def __init__(self, store: Callable[[], Store], *, first: float = 0.0, share: float = _SHARE) -> None:
        self._store, self._first, self._share = store, first, share
        self._counted: dict[int, _Counted] = {}
        self._told: tuple[CounterMetricFamily, ...] = ()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._follow, name="prelabels", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The counters as the thread last knew them."""
        return self._told

    def refresh(self) -> None:
        """Count what is new, and tell it. Raises StoreError when the store cannot be read."""
        with self._store().read() as session:
            linked = linked_projects(session)
        for project in linked:
            counted = self._counted.setdefault(project.project_id, _Counted())
            while self._read_part(project, counted) == ROWS_AT_ONCE:
                if self._stop.is_set():
                    return
        self._told = tuple(_families(linked, self._counted))

    def _read_part(self, project: LinkedProject, counted: _Counted) -> int:
        """Count the next few annotations, and pause; gives how many there were."""
        began, number = time.monotonic(), 0
        with self._store().read() as session:
            for one in islice(reviewed_prelabels(session, project.project_id, counted.last), ROWS_AT_ONCE):
                counted.add(one)
                number += 1
        if number == ROWS_AT_ONCE:
            self._stop.wait((time.monotonic() - began) * (1 / self._share - 1))
        return number

    def _follow(self) -> None:
        pause = self._first
        while not self._stop.wait(pause):
            pause = _PAUSE
            try:
                self.refresh()
            except RuleError as error:
                log.info("the pre-labels are counted later: %s", error)
            except Exception:
                log.exception("counting what annotators did with the pre-labels failed")


def _families(linked: Iterable[LinkedProject], counted: Mapping[int, _Counted]) -> Iterator[CounterMetricFamily]:
    texts = CounterMetricFamily(
        "ner_backend_prelabelled_annotations",
        "Annotations that were begun from a pre-label of a version.",
        labels=["project", "version"],
    )
    regions = CounterMetricFamily(
        "ner_backend_prelabel_regions",
        "What annotators did with the regions of pre-labels: kept, moved, retyped, removed, added.",
        labels=["project", "version", "type", "outcome"],
    )
    for project in linked:
        for version, number in counted[project.project_id].texts.items():
            texts.add_metric([project.slug, version], number)
        for names, number in counted[project.project_id].regions.items():
            regions.add_metric([project.slug, *names], number)
    yield texts
    yield regions
