"""Sources in processes of their own: what a source does to its process costs the text it did that on, and no more."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ner.spans import Span
from weak_labeling import workers as module
from weak_labeling.functions import LabelingFunction, SpanFinder
from weak_labeling.source import Fault
from weak_labeling.workers import SLOW_IN_A_ROW, TEXTS_AT_ONCE, AskedBatch, Batch, Workers, batches

# Seconds a text: short where a source is to be cut off, long where a busy machine must not cut off anything.
LIMIT, AMPLE = 0.08, 30.0
GOOD = Span(0, 2, "OS")


def good(text: str) -> Iterator[Span]:
    yield Span(0, 2, "OS")


def asked(
    finders: Sequence[SpanFinder], texts: Sequence[str], number: int = 1, limit: float = LIMIT
) -> list[AskedBatch]:
    sources = [LabelingFunction(finder.__name__, finder) for finder in (*finders, good)]  # type: ignore[attr-defined]
    given = list(enumerate(texts, 1))
    with Workers(sources, ["OS"], number=number, limit=limit) as workers:
        found = list(workers.ask(batches(given, tuple(range(len(sources))))))
    assert multiprocessing.active_children() == []
    return found


def reasons(batch: AskedBatch, source: int = 0) -> list[str | None]:
    """The reason of the fault on each text; None for an answer."""
    return [answer.reason if isinstance(answer, Fault) else None for answer in batch.answers[source].answers]


def raises(text: str) -> list[Span]:
    raise KeyError(text) if "bad" in text else ValueError("always")


def outside(text: str) -> list[Span]:
    return [Span(0, 99, "OS")]


def leaves(text: str) -> None:
    sys.exit(3)


def interrupts(text: str) -> None:
    raise KeyboardInterrupt


def sleeps(text: str) -> None:
    while "bad" in text:
        with contextlib.suppress(Exception):
            time.sleep(60)


def backtracks(text: str) -> None:
    re.fullmatch(r"(x+x+)+y", "x" * 40 if "bad" in text else "xy")


def eats_memory(text: str) -> None:
    bytearray(1 << 40)


@pytest.mark.parametrize(
    ("finder", "said"),
    [
        (raises, "raised KeyError: 'bad'"),
        (outside, "a span lies within its text"),
        (leaves, "raised SystemExit: 3"),
        (interrupts, "raised KeyboardInterrupt"),
        (sleeps, "took more than 0.08 seconds"),
        (backtracks, "took more than 0.08 seconds"),
        (eats_memory, "raised MemoryError"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_a_source_does_is_a_named_fault_of_that_text(finder: SpanFinder, said: str) -> None:
    (batch,) = asked([finder], ["bad"])
    (reason,) = reasons(batch)
    assert reason is not None and said in reason
    assert batch.answers[1].answers == ((GOOD,),)


def dies(text: str) -> list[Span]:
    if "bad" in text:
        os._exit(7)
    return [Span(0, 1, "OS")]


def closes_everything(text: str) -> None:
    if "bad" in text:
        os.closerange(3, 100)


def loops_in_c(text: str) -> None:
    if "bad" in text:
        sum(iter(int, 1))  # no bytecode runs in between, so no alarm is heard


@pytest.mark.parametrize(
    ("finder", "said"),
    [
        (dies, "ended the process"),
        (closes_everything, "ended the process"),
        (loops_in_c, "could not be interrupted"),
    ],
)
def test_a_worker_that_is_lost_is_replaced_and_no_other_answer_is_lost(finder: SpanFinder, said: str) -> None:
    (batch,) = asked([finder], ["one", "bad", "two"])
    first, second, third = reasons(batch)
    assert (first, third) == (None, None) and second is not None and said in second
    assert batch.answers[1].answers == ((GOOD,),) * 3


def test_a_source_that_is_too_slow_again_and_again_is_set_aside_and_the_others_go_on() -> None:
    (batch,) = asked([sleeps], ["bad"] * (SLOW_IN_A_ROW + 3))
    assert list(batch.answers) == [1] and f"{SLOW_IN_A_ROW} texts in a row" in batch.set_aside[0]
    assert batch.answers[1].answers == ((GOOD,),) * (SLOW_IN_A_ROW + 3)


def test_a_source_that_kills_its_process_again_and_again_is_set_aside() -> None:
    (batch,) = asked([dies], ["bad"] * 9)
    assert list(batch.answers) == [1] and "3 times in a row it ended the process" in batch.set_aside[0]


def prints(text: str) -> None:
    print("noise")  # noqa: T201
    os.write(1, b"noise")
    os.write(2, b"noise")


def forks(text: str) -> list[Span]:
    os.fork()
    return [Span(0, 1, "OS")]


def test_what_a_source_prints_is_not_seen_and_its_fork_answers_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    (batch,) = asked([prints, forks], ["one", "two"], limit=AMPLE)
    assert reasons(batch, 0) == reasons(batch, 1) == [None, None]
    assert batch.answers[1].answers == ((Span(0, 1, "OS"),),) * 2
    assert capfd.readouterr() == ("", "")


def test_batches_come_back_whole_and_in_order_from_several_workers(tmp_path: Path) -> None:
    def slow_at_first(text: str) -> None:
        if text == "0":
            time.sleep(LIMIT / 2)

    texts = [str(n) for n in range(5 * TEXTS_AT_ONCE + 1)]
    found = asked([slow_at_first], [text * 2 for text in texts], number=2, limit=AMPLE)
    assert [len(batch.texts) for batch in found] == [TEXTS_AT_ONCE] * 5 + [1]
    assert [document for batch in found for document, _ in batch.texts] == list(range(1, len(texts) + 1))
    assert all(set(batch.answers) == {0, 1} for batch in found)


def test_long_texts_come_in_smaller_batches() -> None:
    given = [(1, "x" * 150_000), (2, "x" * 60_000), (3, "x" * 500_000), (4, "x")]
    assert [[document for document, _ in batch.texts] for batch in batches(given, (0,))] == [[1], [2], [3], [4]]
    assert isinstance(next(batches([(1, "")], (0,))), Batch)


def test_a_look_in_the_middle_of_a_note_cuts_nobody_off(monkeypatch: pytest.MonkeyPatch) -> None:
    place = module._PLACE

    class Torn:
        """Every second look of the parent sees the zeros with which the writing of a note begins."""

        size, pack_into = place.size, place.pack_into

        def __init__(self) -> None:
            self.looks = 0

        def unpack_from(self, memory: bytes) -> tuple[int, int, float]:
            self.looks += 1
            noted: tuple[int, int, float] = place.unpack_from(memory)
            return (0, 0, 0.0) if self.looks % 2 else noted

    def slow(text: str) -> Iterator[Span]:
        time.sleep(0.3)
        yield GOOD

    monkeypatch.setattr(module, "_PLACE", Torn())
    [batch] = asked([slow], ["text"] * 4, limit=AMPLE)
    assert reasons(batch) == [None] * 4
