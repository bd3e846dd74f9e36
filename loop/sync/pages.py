"""How a pull finds what has changed: pages of updated tasks, the watermark where they begin, and the ids of all tasks.

Tasks come in the order in which they were updated. Each page asks for what was updated at or after the last moment of
the page before. Page numbers would skip tasks: a task that is updated meanwhile moves to the end, and every task behind
its old place moves forward.

The watermark is the latest `updated_at` that was seen. It is a stamp of the server, so that no other clock counts. A
pull begins some time before the watermark, since a transaction that was open during the last pull may have committed
older stamps. After one pull that began late enough to see all of these, the next pull begins at the watermark itself;
otherwise each poll after a bulk import would read all imported tasks again.

A deleted task is on no page. So ids are compared where the number of tasks differs: the server takes 4 s to list 10,000
ids, and 0.1 s to count them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from loop.label_studio.client import Json, LabelStudioClient, LabelStudioError, TaskQuery, parse_time

OVERLAP = timedelta(seconds=60)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_TRIES = 3
_PAUSE_SECONDS = 0.5
_SERVER_FAILED = 500
_LISTED_AT_ONCE = 500
_LAST_ID = 2**53


@dataclass(frozen=True)
class OrderedPage:
    """Tasks as listed, the ids of those that the server cannot serve, and the moment before which all were read."""

    tasks: tuple[Json, ...]
    unservable: tuple[int, ...]
    read_until: datetime
    last_id: int

    @property
    def size(self) -> int:
        """How many tasks the page is about."""
        return len(self.tasks) + len(self.unservable)


@dataclass(frozen=True)
class TaskReader:
    """Reads one project's tasks."""

    client: LabelStudioClient
    project_id: int
    page_size: int = 100

    def pages(self, query: TaskQuery) -> Iterator[OrderedPage]:
        """All tasks of a query with `since`, the task that was updated first comes first. Raises LabelStudioError.

        A task may come twice: when it is updated meanwhile, or shares its moment with other tasks.
        """
        while page := self.read(query):
            yield page
            if page.size < self.page_size:
                return
            one_moment = page.read_until == query.since
            if one_moment:
                yield from self._updated_at(page.read_until)
            query = TaskQuery(since=page.read_until, strictly=one_moment)

    def read(self, query: TaskQuery) -> OrderedPage | None:
        """The first page of a query, None when it is empty.

        A page that fails as a whole is read in pieces, around the tasks that break it: a lone surrogate in a task or an
        annotation makes the server fail for every page that holds this task.
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
        return OrderedPage(tasks, tuple(unservable), parse_time(last["updated_at"]), int(last["id"]))

    def again(self, ids: Sequence[int]) -> list[Json]:
        """Those tasks that the server can serve now, of tasks that it could not serve before."""
        parts = (ids[begin : begin + self.page_size] for begin in range(0, len(ids), self.page_size))
        return [task for part in parts for task in self._in_pieces(part, tries=1)[0]]

    def _updated_at(self, moment: datetime) -> Iterator[OrderedPage]:
        """All tasks updated at exactly `moment`, by id."""
        after = 0
        while page := self.read(TaskQuery(at=moment, after_id=after)):
            yield page
            if page.size < self.page_size:
                return
            after = page.last_id

    def _in_pieces(self, ids: Sequence[int], tries: int) -> tuple[list[Json], list[int]]:
        """(tasks, ids that cannot be served): halves, until each that fails stands alone and failed `tries` times."""
        alone = len(ids) == 1
        for attempt in range(tries if alone else 1):
            if attempt:
                time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
            try:
                return list(self.client.tasks_page(self.project_id, TaskQuery(ids=tuple(ids)), len(ids)).tasks), []
            except LabelStudioError as error:
                if error.status != _SERVER_FAILED:
                    raise
        if alone:
            return [], list(ids)
        middle = len(ids) // 2
        found, unservable = self._in_pieces(ids[:middle], tries)
        more, also = self._in_pieces(ids[middle:], tries)
        return found + more, unservable + also


@dataclass(frozen=True)
class Watermark:
    """How far was pulled, when that was reached by our clock, and whether a later pull looked back far enough."""

    moment: datetime
    reached_at: datetime
    settled: bool

    @classmethod
    def remembered(cls, moment: datetime | None, counts: Mapping[str, Any]) -> Watermark | None:
        """The store's watermark with what the last pull's counts say of it; None when nothing was pulled."""
        if moment is None:
            return None
        known = counts.get("watermark") == moment.isoformat()
        reached = datetime.fromisoformat(counts["reached_at"]) if known else datetime.now(UTC)
        return cls(moment, reached, bool(known and counts["settled"]))

    def as_counts(self) -> dict[str, Any]:
        """What `remembered` of the next pull reads."""
        moments = {"watermark": self.moment.isoformat(), "reached_at": self.reached_at.isoformat()}
        return {**moments, "settled": self.settled}


def start_from(watermark: Watermark | None) -> TaskQuery:
    """Where a pull begins."""
    if watermark is None:
        return TaskQuery(since=_BEGINNING)
    if watermark.settled:
        return TaskQuery(since=watermark.moment, strictly=True)
    return TaskQuery(since=watermark.moment - OVERLAP)


def advanced(before: Watermark | None, moment: datetime, *, began_at: datetime, ended_at: datetime) -> Watermark:
    """The watermark after a complete pull that began and ended at these moments of our clock."""
    if before is None or moment > before.moment:
        return Watermark(moment, ended_at, settled=False)
    return Watermark(before.moment, before.reached_at, before.settled or began_at - before.reached_at >= OVERLAP)


@dataclass(frozen=True)
class TaskIdDifference:
    """Ids that we know and the server does not have (`gone`), and ids that only the server has (`unseen`)."""

    gone: frozenset[int] = frozenset()
    unseen: frozenset[int] = frozenset()

    def __or__(self, other: TaskIdDifference) -> TaskIdDifference:
        return TaskIdDifference(self.gone | other.gone, self.unseen | other.unseen)


def compare_ids(client: LabelStudioClient, project_id: int, known: Iterable[int]) -> TaskIdDifference:
    """How the ids of the server's tasks differ from the `known` ones, in every range of ids whose count differs."""
    return _compare(client, project_id, sorted(set(known)), 0, _LAST_ID)


def _compare(
    client: LabelStudioClient, project_id: int, known: Sequence[int], first: int, last: int
) -> TaskIdDifference:
    """Within ids `first..last`: halved where the counts differ, until a part is short enough to be listed."""
    if len(known) <= _LISTED_AT_ONCE:
        there, here = frozenset(client.task_ids(project_id, first, last)), frozenset(known)
        return TaskIdDifference(gone=here - there, unseen=there - here)
    middle = len(known) // 2
    border = known[middle]
    found = TaskIdDifference()
    for part, low, high in ((known[:middle], first, border - 1), (known[middle:], border, last)):
        if client.count_tasks(project_id, low, high) != len(part):
            found |= _compare(client, project_id, part, low, high)
    return found
