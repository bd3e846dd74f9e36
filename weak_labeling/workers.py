"""Sources asked about many texts in several processes, so that a source can do no harm to the run.

A worker is a fork of this process, so every source is there as it was loaded, and a large gazetteer is in memory once.
A worker prints nothing and may take a limited amount of memory. A source that raises fails on that text alone. A source
that takes longer than the limit is interrupted by an alarm; where that does not help (a loop in C), or where the
source ends its process, the worker is killed and another takes its place, which leaves out that source on that text.
A source that fails that way on many texts in a row is set aside.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import multiprocessing
import os
import resource
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from ner.spans import Span
from weak_labeling.apply import answer_of
from weak_labeling.source import Fault, TextSource

# Texts in a row on which a source takes too long, after which it is set aside; and texts on which it ends its process.
SLOW_IN_A_ROW, KILLED_IN_A_ROW = 5, 3
TEXTS_AT_ONCE, CHARS_AT_ONCE = 200, 200_000
# What a worker may take beyond what it has at its start.
_MEMORY = 2 << 30
# After its limit a source has this many seconds to heed the alarm.
_GRACE_S = 1.0
_TICKS = 4  # looks at the clock within one limit
_LOOK_S = 0.1
_PLACE = struct.Struct("=iid")  # source, text, since when (seconds of the monotonic clock)
_NOWHERE = -1
_PR_SET_PDEATHSIG = 1  # prctl(2)
_Packed = list[tuple[int, int, str]] | str  # an answer on its way: spans, or the reason of a fault


@dataclass(frozen=True)
class Batch:
    """Texts in order of their ids, and the places of the sources that are asked. passed_over: (source, text) places."""

    texts: Sequence[tuple[int, str]]
    sources: tuple[int, ...]
    passed_over: dict[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceAnswers:
    """What one source says of the texts of a batch: its spans or a Fault for each text, and how long it took."""

    answers: tuple[tuple[Span, ...] | Fault, ...]
    seconds: float


@dataclass(frozen=True)
class AskedBatch:
    """A batch, and the answers by the place of the source. set_aside: why, for sources that are not asked any more."""

    texts: Sequence[tuple[int, str]]
    answers: dict[int, SourceAnswers]
    set_aside: dict[int, str]


def batches(
    texts: Iterable[tuple[int, str]], sources: tuple[int, ...], *, number: int = TEXTS_AT_ONCE
) -> Iterator[Batch]:
    """The texts in order, in pieces of at most `number` texts and of a bounded number of characters."""
    piece: list[tuple[int, str]] = []
    room = CHARS_AT_ONCE
    for document, text in texts:
        if piece and (len(piece) == number or room < len(text)):
            yield Batch(tuple(piece), sources)
            piece, room = [], CHARS_AT_ONCE
        piece.append((document, text))
        room -= len(text)
    if piece:
        yield Batch(tuple(piece), sources)


class Workers:
    """Processes that ask `sources` about batches of texts. They are killed when the context ends.

    limit: seconds for one source on one text.
    """

    def __init__(self, sources: Sequence[TextSource], labels: Collection[str], *, number: int, limit: float) -> None:
        self._sources, self._labels, self._limit = tuple(sources), tuple(labels), limit
        self._number = number
        self._workers: list[_Worker] = []
        self._set_aside: dict[int, str] = {}
        self._killed = dict.fromkeys(range(len(self._sources)), 0)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()

    def ask(self, given: Iterable[Batch]) -> Iterator[AskedBatch]:
        """The answers to each batch, in order. A few batches are read ahead of the one that is answered next."""
        source, pending = iter(given), deque[_Pending]()
        exhausted = False
        while True:
            while not exhausted and len(pending) < 3 * self._number:
                batch = next(source, None)
                exhausted = batch is None
                if batch is not None:
                    pending.append(_Pending(batch))
            if not pending:
                return
            self._hand_out(pending)
            if pending[0].asked is None:
                self._collect()
            while pending and pending[0].asked is not None:
                yield pending.popleft().asked  # type: ignore[misc]  # mypy does not see through the condition

    def _hand_out(self, pending: Iterable[_Pending]) -> None:
        """Give every free worker the next batch that nobody has; start workers as they are needed."""
        waiting = [item for item in pending if item.asked is None and not item.is_out]
        for item in waiting:
            free = next((worker for worker in self._workers if worker.at_work_on is None), None)
            if free is None and len(self._workers) < self._number:
                free = _Worker(self._sources, self._labels, self._limit, self._workers)
                self._workers.append(free)
            if free is None:
                return
            batch = item.batch
            asked = tuple(source for source in batch.sources if source not in self._set_aside)
            item.is_out = True
            free.give(item, replace(batch, sources=asked))

    def _collect(self) -> None:
        """Take in what workers have finished, for a short time; replace workers that ended or have to be ended."""
        busy = {worker.connection: worker for worker in self._workers if worker.at_work_on is not None}
        ready = wait(list(busy), timeout=_LOOK_S)
        for connection, worker in busy.items():
            if connection in ready:
                self._take(worker)
            elif worker.seconds_at_one_place() > 2 * self._limit + _GRACE_S:
                self._replace(worker, f"took more than {self._limit:g} seconds and could not be interrupted")

    def _take(self, worker: _Worker) -> None:
        item = worker.at_work_on
        assert item is not None
        try:
            packed, set_aside = worker.connection.recv()
        except (EOFError, OSError, Exception):  # noqa: BLE001 - half a message is no message
            self._replace(worker, "ended the process that asked it, or took all of its memory")
            return
        worker.at_work_on = None
        answers = {
            source: SourceAnswers(tuple(map(_unpacked, given)), seconds) for source, (given, seconds) in packed.items()
        }
        for source, reason in set_aside.items():
            self._set_aside.setdefault(source, reason)
        for source in answers:
            if not any(at == source for at, _ in item.batch.passed_over):
                self._killed[source] = 0
        item.asked = AskedBatch(item.batch.texts, answers, dict(self._set_aside))

    def _replace(self, worker: _Worker, reason: str) -> None:
        """Kill a worker; its batch is asked again without the source on the text where it stood."""
        item, (source, text) = worker.at_work_on, worker.place()
        worker.kill()
        self._workers.remove(worker)
        assert item is not None
        item.is_out = False
        if source == _NOWHERE:
            raise RuntimeError("a worker that asks sources of weak labels ended before it asked one")
        item.batch = replace(item.batch, passed_over={**item.batch.passed_over, (source, text): reason})
        self._killed[source] += 1
        if self._killed[source] >= KILLED_IN_A_ROW:
            self._set_aside[source] = f"{KILLED_IN_A_ROW} times in a row it {reason}"


@dataclass(eq=False)
class _Pending:
    batch: Batch
    is_out: bool = False
    asked: AskedBatch | None = None


class _Worker:
    """One process, the connection to it, and a piece of memory in which it notes what it asks at the moment."""

    def __init__(
        self, sources: Sequence[TextSource], labels: Collection[str], limit: float, siblings: Sequence[_Worker]
    ) -> None:
        self._memory = mmap.mmap(-1, _PLACE.size)
        _PLACE.pack_into(self._memory, 0, _NOWHERE, 0, 0.0)
        self.connection, theirs = multiprocessing.Pipe()
        self.at_work_on: _Pending | None = None
        self._seen, self._seen_since = _PLACE.unpack_from(self._memory), 0.0
        others = [self.connection, *(worker.connection for worker in siblings)]
        asking = _Asking(sources, labels, limit, theirs, self._memory)
        process = multiprocessing.get_context("fork").Process(target=asking.run, args=(others,), daemon=True)
        _flush()
        process.start()
        self._process = process
        theirs.close()

    def give(self, item: _Pending, batch: Batch) -> None:
        """Have it ask about a batch."""
        self.at_work_on = item
        _PLACE.pack_into(self._memory, 0, _NOWHERE, 0, time.monotonic())
        with contextlib.suppress(OSError):  # it has ended: that is seen when its answer is read
            self.connection.send(batch)

    def place(self) -> tuple[int, int]:
        """The source and the text, by their places in the batch, that it asks."""
        source, text, _ = _PLACE.unpack_from(self._memory)
        return source, text

    def seconds_at_one_place(self) -> float:
        """How long it has been seen to ask one source about one text.

        A look may fall into the middle of a note, and see zeros. So the time that is noted only tells one note from
        the next, and what counts is since when the same note has been seen.
        """
        note, now = _PLACE.unpack_from(self._memory), time.monotonic()
        if note != self._seen:
            self._seen, self._seen_since = note, now
        return 0.0 if note[0] == _NOWHERE else now - self._seen_since

    def kill(self) -> None:
        """End it, and whatever its sources started, at once."""
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.connection.close()
        self._memory.close()


class _TooSlow(BaseException):
    """The alarm of a source that takes too long. No `except Exception` of the source's own takes it in."""


@dataclass
class _Asking:
    """What a worker does: it asks the sources about a batch, answers, and waits for the next batch."""

    sources: Sequence[TextSource]
    labels: Collection[str]
    limit: float
    connection: Connection[Any, Any]
    memory: mmap.mmap
    since: float = 0.0  # when the source that is asked now was asked; 0: none is asked
    slow: dict[int, int] = field(default_factory=dict)  # texts in a row on which a source took too long

    def run(self, others: Sequence[Connection[Any, Any]]) -> None:
        """Until the parent closes the connection, or kills this process."""
        try:
            self._settle(others)
            while True:
                self.connection.send(self._asked(self.connection.recv()))
        except (EOFError, OSError):
            os._exit(0)
        finally:
            os._exit(1)

    def _settle(self, others: Sequence[Connection[Any, Any]]) -> None:
        """Cut what this process shares with its parent, and set its limits."""
        os.setpgid(0, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        gc.freeze()  # what belongs to the parent is never let go here: connections to databases among it
        for connection in others:
            connection.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _limit_memory()
        signal.signal(signal.SIGALRM, self._look_at_the_clock)
        signal.setitimer(signal.ITIMER_REAL, self.limit / _TICKS, self.limit / _TICKS)

    def _look_at_the_clock(self, _number: int, _frame: FrameType | None) -> None:
        if self.since and time.monotonic() - self.since > self.limit:
            raise _TooSlow

    def _asked(self, batch: Batch) -> tuple[dict[int, tuple[list[_Packed], float]], dict[int, str]]:
        answers, set_aside = {}, {}
        for source in batch.sources:
            begin, given = time.monotonic(), []
            for place, (_, text) in enumerate(batch.texts):
                known = batch.passed_over.get((source, place))
                given.append(Fault(known) if known is not None else self._answer(source, place, text))
                if self.slow.get(source, 0) >= SLOW_IN_A_ROW:
                    set_aside[source] = f"it took more than {self.limit:g} seconds on {SLOW_IN_A_ROW} texts in a row"
                    break
            else:
                answers[source] = [_packed(one) for one in given], time.monotonic() - begin
        return answers, set_aside

    def _answer(self, source: int, place: int, text: str) -> tuple[Span, ...] | Fault:
        process = os.getpid()
        try:
            now = time.monotonic()
            _PLACE.pack_into(self.memory, 0, source, place, now)
            self.since = now
            answer = answer_of(self.sources[source], text, self.labels)
            self.since = 0.0
        except _TooSlow:
            self.since = 0.0
            self.slow[source] = self.slow.get(source, 0) + 1
            answer = Fault(f"took more than {self.limit:g} seconds")
        except BaseException as error:  # noqa: BLE001 - whatever a source thinks of; none ends the worker
            self.since = 0.0
            answer = Fault(f"raised {type(error).__name__}")
        else:
            self.slow[source] = 0
        if os.getpid() != process:  # the source forked, and this is its child: it has no business here
            os._exit(0)
        os.fstat(self.connection.fileno())  # a source that has closed it shall not leave the blame to the next
        return answer


def _packed(answer: tuple[Span, ...] | Fault) -> _Packed:
    """Plain values: they are written and read several times as fast as frozen dataclasses."""
    if isinstance(answer, Fault):
        return answer.reason
    return [(span.start, span.end, span.label) for span in answer]


def _unpacked(packed: _Packed) -> tuple[Span, ...] | Fault:
    return Fault(packed) if isinstance(packed, str) else tuple(Span(*given) for given in packed)


def _limit_memory() -> None:
    """Let an allocation beyond the limit fail, so that a source gets MemoryError and the machine stays well."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY, resource.RLIM_INFINITY))


def _flush() -> None:
    """What waits in buffers shall not be written a second time by a fork."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
