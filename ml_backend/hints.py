"""Hints: what Label Studio's webhooks say, kept in memory until a thread writes it to the store.

A hint tells the loop to pull sooner. Label Studio waits for the webhook's answer while the annotator waits for Label
Studio, so adding a hint takes no time. While the store is away, the hints wait, and are written once the store is back.
A lost hint costs nothing but time, because a pull finds every change by itself. So a full queue drops its oldest hint.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from ner.errors import RuleError
from store.database.session import Store
from store.errors import StoreBusyError, StoreOpenError
from store.runs import add_hint

log = logging.getLogger(__name__)

_CAPACITY = 1000
# Events come in bursts (a bulk action, a fast annotator); one row a burst is enough.
_GATHER_SECONDS = 0.2
# Between two tries to reach a store that is away.
_RETRY_SECONDS = 2.0

Key = tuple[int, str]


class Hints:
    """A bounded queue of (Label Studio's project id, action), and the thread that writes the queue to the store."""

    def __init__(self, store: Callable[[], Store], on_lost: Callable[[], object] = lambda: None) -> None:
        self._store, self._on_lost = store, on_lost
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._is_store_away = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end the thread. What a store that is away cannot take now is lost, and counted."""
        self._stop.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._lose(len(self._waiting))

    def add(self, ls_project_id: int, action: str) -> None:
        """Remember a hint. The same hint twice before it is written counts as one."""
        with self._changed:
            self._waiting[ls_project_id, action] = None
            self._drop_oldest()
            self._changed.notify()

    def write(self) -> int:
        """Write what waits, in one transaction; gives how many hints.

        Where the store does not answer, the hints go on waiting. What the store refuses is lost, and counted.
        """
        with self._changed:
            taken = list(self._waiting)
            self._waiting.clear()
        if not taken:
            return 0
        try:
            with self._store().transaction() as tx:
                for ls_project_id, action in taken:
                    add_hint(tx, ls_project_id, action)
                tx.commit()
        except (StoreOpenError, StoreBusyError) as error:
            self._keep(taken, error)
        except RuleError as error:
            log.warning("%d hints are lost, the next pull will find what they were about: %s", len(taken), error)
            self._lose(len(taken))
        except Exception:
            log.exception("%d hints are lost, the next pull will find what they were about", len(taken))
            self._lose(len(taken))
        else:
            self._is_store_away = False
            return len(taken)
        return 0

    def _keep(self, taken: list[Key], error: RuleError) -> None:
        """Put hints back before those that came meanwhile; said once for each time that the store is away."""
        with self._changed:
            self._waiting = OrderedDict.fromkeys([*taken, *self._waiting])
            self._drop_oldest()
        if not self._is_store_away:
            log.warning("%d hints wait until the store answers: %s", len(taken), error)
        self._is_store_away = True

    def _drop_oldest(self) -> None:
        while len(self._waiting) > _CAPACITY:
            self._waiting.popitem(last=False)
            self._on_lost()

    def _lose(self, number: int) -> None:
        for _ in range(number):
            self._on_lost()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._changed:
                while not self._waiting and not self._stop.is_set():
                    self._changed.wait()
            self._stop.wait(_RETRY_SECONDS if self._is_store_away else _GATHER_SECONDS)
            self.write()
