"""Tasks in the order in which they were updated, page by page, whatever happens to them meanwhile.

Keyset paging: each page asks for what was updated at or after the last page's last moment. Page numbers would skip
tasks, since one that is updated meanwhile moves to the end and draws the others forward.

Where an incremental pull begins.

The watermark is the latest `updated_at` seen: the server's own stamps, so that no clock but its own counts. A pull
begins some time before it, since a transaction that was open during the last pull may have committed older stamps.
Once a pull has looked back when nothing was open any more, the look back is spared: after a bulk import it would bring
all its tasks again with every poll.

Which tasks are gone from Label Studio, and which are there that no page showed.

Deleted tasks leave no trace to page through, so ids are compared; only where the numbers differ, since listing all ids
of 10,000 tasks takes the server 4 s and counting a range 0.1 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from loop.label_studio.client import Json, LabelStudioClient, LabelStudioError, TaskQuery, parse_time

_TRIES = 3
_PAUSE_SECONDS = 0.5
_SERVER_FAILED = 500


@dataclass(frozen=True)
class OrderedPage:
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

    def since(self, moment: datetime, *, strictly: bool = False) -> Iterator[OrderedPage]:
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

    def read(self, query: TaskQuery) -> OrderedPage | None:
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
        return OrderedPage(tasks, tuple(unservable), parse_time(last["updated_at"]), int(last["id"]))

    def again(self, ids: Sequence[int]) -> tuple[list[Json], list[int]]:
        """(tasks, ids that cannot be served) of those that the server could not serve before, each tried once more."""
        found, unservable = list[Json](), list[int]()
        for begin in range(0, len(ids), self.page_size):
            more, also = self._in_pieces(ids[begin : begin + self.page_size], tries=1)
            found, unservable = found + more, unservable + also
        return found, unservable

    def _at(self, moment: datetime) -> Iterator[OrderedPage]:
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


OVERLAP = timedelta(seconds=60)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class PullStart:
    """Read what was updated at `since` or later (`strictly`: later)."""

    since: datetime
    strictly: bool = False


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
        """What the next pull's `remembered` reads."""
        return {
            "watermark": self.moment.isoformat(),
            "reached_at": self.reached_at.isoformat(),
            "settled": self.settled,
        }


def start_from(watermark: Watermark | None) -> PullStart:
    """Where to begin."""
    if watermark is None:
        return PullStart(_BEGINNING)
    if watermark.settled:
        return PullStart(watermark.moment, strictly=True)
    return PullStart(watermark.moment - OVERLAP)


def advanced(before: Watermark | None, moment: datetime, *, began_at: datetime, ended_at: datetime) -> Watermark:
    """The watermark after a complete pull that began and ended at these moments of our clock."""
    if before is None or moment > before.moment:
        return Watermark(moment, ended_at, settled=False)
    return Watermark(before.moment, before.reached_at, before.settled or began_at - before.reached_at >= OVERLAP)


_LISTED_AT_ONCE = 500
_LAST_ID = 2**53


@dataclass(frozen=True)
class TaskIdDifference:
    """Ids that we know and the server does not (`gone`), and the other way round (`unseen`)."""

    gone: frozenset[int] = frozenset()
    unseen: frozenset[int] = frozenset()

    def __or__(self, other: TaskIdDifference) -> TaskIdDifference:
        return TaskIdDifference(self.gone | other.gone, self.unseen | other.unseen)


def compare_ids(client: LabelStudioClient, project_id: int, known: Iterable[int], *, total: int) -> TaskIdDifference:
    """How the server's tasks, `total` in all, differ from `known` ids; nothing is listed when the numbers agree."""
    ids = sorted(set(known))
    return TaskIdDifference() if total == len(ids) else compare_all_ids(client, project_id, ids)


def compare_all_ids(client: LabelStudioClient, project_id: int, known: Iterable[int]) -> TaskIdDifference:
    """As `compare_ids`, whatever the numbers say, in every range whose own number differs."""
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
