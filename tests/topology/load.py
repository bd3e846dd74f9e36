"""People at work in Label Studio while its surroundings fail: what they submit, change, skip and delete."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from loop.label_studio.client import LabelStudioClient, LabelStudioError, Patience
from tests.topology.network import Network

_PAUSE_SECONDS = 0.3
_QUICK = Patience(connect=2.0, read=30.0, retries=0)
_SKIPPED_OF, _CHANGED_OF, _DELETED_OF = 11, 5, 17
CREATED, CHANGED, SKIPPED, DELETED, REFUSED = "created", "changed", "skipped", "deleted", "refused"


@dataclass
class Annotators:
    """People that share the tasks among them; each answers one after another, with a pause of `pace` seconds.

    When all tasks are answered, they answer them once more. Where Label Studio does not answer, they wait a moment and
    try again, as people do.
    """

    network: Network
    url: str
    token: str
    answers: Sequence[tuple[int, list[dict[str, Any]]]]
    people: int = 3
    pace: float = 0.5
    done: Counter[str] = field(default_factory=Counter)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Let them begin."""
        for place in range(self.people):
            mine = self.answers[place :: self.people]
            self._threads.append(threading.Thread(target=self._work, args=(mine,), name=f"annotator {place}"))
            self._threads[-1].start()

    def stop(self) -> None:
        """Let each finish the task at hand."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait(self, number: int, seconds: float) -> None:
        """Wait until so many annotations more are submitted, from now on."""
        wanted, deadline = self.done[CREATED] + number, time.monotonic() + seconds
        while self.done[CREATED] < wanted:
            if time.monotonic() > deadline or not any(thread.is_alive() for thread in self._threads):
                raise AssertionError(f"the annotators submitted {dict(self.done)}, not {wanted} annotations in time")
            time.sleep(0.05)

    def _work(self, mine: Sequence[tuple[int, list[dict[str, Any]]]]) -> None:
        with self.network.here():
            client = LabelStudioClient(self.url, self.token, patience=_QUICK)
            for task_id, result in cycle(mine):
                self._answer(client, task_id, result)
                if self._ended.wait(self.pace):
                    return

    def _answer(self, client: LabelStudioClient, task_id: int, result: list[dict[str, Any]]) -> None:
        number = task_id % (_SKIPPED_OF * _CHANGED_OF * _DELETED_OF)
        is_skipped = number % _SKIPPED_OF == 0
        given = {"result": result, "lead_time": 2.0, "was_cancelled": is_skipped}
        stored = self._insist(lambda: client.submit_annotation(task_id, given))
        if not stored:
            return
        self.done[SKIPPED if is_skipped else CREATED] += 1
        path = f"/api/annotations/{stored['id']}/"
        if number % _CHANGED_OF == 0:
            changed = {"result": result[:1], "lead_time": 3.0}
            self.done[CHANGED] += self._insist(lambda: client.http.patch(path, changed)) is not None
        if number % _DELETED_OF == 0:
            self._insist(lambda: client.http.delete(path))
            self.done[DELETED] += 1

    def _insist(self, act: Any) -> Any:
        while not self._ended.is_set():
            try:
                return act()
            except LabelStudioError as error:
                if error.status == 404:  # deleted by the request before, whose answer was lost
                    return None
                self.done[REFUSED] += 1
                time.sleep(_PAUSE_SECONDS)
        return None
