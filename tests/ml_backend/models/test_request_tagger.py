from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ml_backend.models.request_tagger import RequestTagger
from ner.arrays import Logits
from ner.models.bundle import load_bundle
from ner.models.network import Network
from tests.fakes import tiny_bundle

TEXT, OTHER = "windows hangs", "linux hangs"
CALLERS = 5


class Held(Network):
    """Counts the windows that it runs; each waits until `go` is set."""

    def __init__(self, inner: Network) -> None:
        self.number, self.go = 0, threading.Event()
        self._inner = inner

    def logits(self, ids: Sequence[int]) -> Logits:
        self.number += 1
        assert self.go.wait(30)
        return self._inner.logits(ids)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[RequestTagger, Held]]:
    bundle = load_bundle(tiny_bundle(tmp_path / "it-0001", ("OS",), {"windows": "OS"}, version="it-0001"))
    network = Held(bundle.network)
    tagger = RequestTagger(replace(bundle, network=network))
    yield tagger, network
    tagger.close()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLERS) as threads:
        yield threads


def test_equal_requests_at_one_moment_are_tagged_once(
    held: tuple[RequestTagger, Held], callers: ThreadPoolExecutor
) -> None:
    tagger, network = held
    asked = [callers.submit(tagger.tag, TEXT) for _ in range(CALLERS)]
    _until_all_wait(tagger, callers)
    network.go.set()
    answers = [one.result(30) for one in asked]
    assert network.number == 1
    assert answers == [answers[0]] * CALLERS and [span.label for span in answers[0].spans] == ["OS"]


def test_what_was_answered_is_not_kept(held: tuple[RequestTagger, Held]) -> None:
    tagger, network = held
    network.go.set()
    assert tagger.tag(TEXT) == tagger.tag(TEXT) == tagger.tag_many([TEXT])[0]
    assert network.number == 3


def test_other_texts_are_other_requests(held: tuple[RequestTagger, Held], callers: ThreadPoolExecutor) -> None:
    tagger, network = held
    network.go.set()
    asked = [callers.submit(tagger.tag_many, texts) for texts in ([TEXT, OTHER], [OTHER, TEXT])]
    first, second = [one.result(30) for one in asked]
    assert first == second[::-1] and first[0] != first[1]


def test_a_call_whose_forerunner_ran_out_of_time_is_answered_all_the_same(
    held: tuple[RequestTagger, Held], callers: ThreadPoolExecutor
) -> None:
    tagger, network = held
    began, late = threading.Event(), threading.Event()

    def time_is_up() -> None:
        began.set()
        late.wait(30)
        raise TimeoutError

    failing = callers.submit(tagger.tag, TEXT, time_is_up)
    assert began.wait(30)
    waiting = callers.submit(tagger.tag, TEXT)
    network.go.set()
    late.set()
    with pytest.raises(TimeoutError):
        failing.result(30)
    assert [span.label for span in waiting.result(30).spans] == ["OS"]


def _until_all_wait(tagger: RequestTagger, callers: ThreadPoolExecutor) -> None:
    """Until every caller is inside: one works, and the others wait for its answer. Fails when they never do."""
    for _ in range(1000):
        if len(_waiting(tagger)) == CALLERS - 1 and not callers._work_queue.qsize():
            return
        threading.Event().wait(0.01)
    pytest.fail("equal requests do not wait for one answer")


def _waiting(tagger: RequestTagger) -> list[object]:
    return [waiter for shared in list(tagger._at_work.values()) for waiter in list(shared._waiters)]
