"""Tasks in the order in which they were updated, page by page, whatever happens to them meanwhile.

Keyset paging: each page asks for what was updated at or after the last page's last moment. Page numbers would skip
tasks, since one that is updated meanwhile moves to the end and draws the others forward.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from loop.label_studio_client import Json, LabelStudioClient, LabelStudioError, TaskQuery, parse_time

_TRIES = 3
_PAUSE_SECONDS = 0.5
_SERVER_FAILED = 500


@dataclass(frozen=True)
class Page:
    """Tasks as listed, the ids of those that the server cannot serve, and the moment before which all were read."""

    tasks: tuple[Json, ...]
    unservable: tuple[int, ...]
    read_until: datetime
    last_id: int

    @property
    def size(self) -> int:
        """How many tasks it is about."""
        return len(self.tasks) + len(self.unservable)


@dataclass(frozen=True)
class TaskReader:
    """Reads one project's tasks; `sleep` is what it waits with."""

    client: LabelStudioClient
    project_id: int
    page_size: int = 100
    sleep: Callable[[float], None] = time.sleep

    def since(self, moment: datetime, *, strictly: bool = False) -> Iterator[Page]:
        """All tasks updated at `moment` or later (`strictly`: later), oldest first.

        A task may come twice: when it is updated meanwhile, or shares its moment with others. Raises LabelStudioError.
        """
        while True:
            page = self.read(TaskQuery(since=moment, strictly=strictly))
            if page is None:
                return
            yield page
            if page.size < self.page_size:
                return
            strictly = page.read_until == moment
            if strictly:
                yield from self._at(moment)
            moment = page.read_until

    def read(self, query: TaskQuery) -> Page | None:
        """The first page of a query, None when it is empty.

        A page that fails as a whole is read in pieces, around the tasks that break it: one lone surrogate in a task
        or an annotation makes the server fail for every page that holds it.
        """
        try:
            tasks = self.client.tasks_page(self.project_id, query, self.page_size).tasks
            stamps, unservable = tasks, list[int]()
        except LabelStudioError as error:
            if error.status != _SERVER_FAILED:
                raise
            stamps = self.client.stamps(self.project_id, query, self.page_size).tasks
            found, unservable = self._in_pieces([int(stamp["id"]) for stamp in stamps], _TRIES)
            tasks = tuple(found)
            if len(unservable) == len(stamps) > 1:
                raise
        if not stamps:
            return None
        last = stamps[-1]
        return Page(tasks, tuple(unservable), parse_time(last["updated_at"]), int(last["id"]))

    def again(self, ids: Sequence[int]) -> tuple[list[Json], list[int]]:
        """(tasks, ids that cannot be served) of those that the server could not serve before, each tried once more."""
        found, unservable = list[Json](), list[int]()
        for begin in range(0, len(ids), self.page_size):
            more, also = self._in_pieces(ids[begin : begin + self.page_size], tries=1)
            found, unservable = found + more, unservable + also
        return found, unservable

    def _at(self, moment: datetime) -> Iterator[Page]:
        """All tasks updated at exactly `moment`, by id."""
        after = 0
        while True:
            page = self.read(TaskQuery(at=moment, after_id=after))
            if page is None:
                return
            yield page
            if page.size < self.page_size:
                return
            after = page.last_id

    def _in_pieces(self, ids: Sequence[int], tries: int) -> tuple[list[Json], list[int]]:
        """(tasks, ids that cannot be served): halves, until each that fails stands alone and failed `tries` times."""
        for attempt in range(tries if len(ids) == 1 else 1):
            try:
                return list(self.client.tasks_page(self.project_id, TaskQuery(ids=tuple(ids)), len(ids)).tasks), []
            except LabelStudioError as error:
                if error.status != _SERVER_FAILED:
                    raise
            if len(ids) == 1 and attempt < tries - 1:
                self.sleep(_PAUSE_SECONDS * 2**attempt)
        if len(ids) == 1:
            return [], list(ids)
        middle = len(ids) // 2
        found, unservable = self._in_pieces(ids[:middle], tries)
        more, also = self._in_pieces(ids[middle:], tries)
        return found + more, unservable + also
