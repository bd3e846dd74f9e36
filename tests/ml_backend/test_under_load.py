"""A running backend whose model is promoted and rolled back under it, while clients ask without pause."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.ml_backend.given import Home, RunningBackend, request_body, running, until

TYPE = {"Content-Type": "application/json"}
TEXTS = ("excel on windows", "nothing to see", "windows again")
BODY = json.dumps(request_body(*TEXTS)).encode()
# Three models that disagree about every text that has a name in it, so that an answer shows by itself who made it.
WORDS: tuple[dict[str, str], ...] = (
    {"windows": "OS"},
    {"excel": "SOFTWARE", "windows": "SOFTWARE"},
    {"excel": "OS", "again": "OS"},
)
ROUNDS, MOVES_A_ROUND, REQUESTS_A_MOVE = 5, 4, 100
CALLERS = (True, True, False, False)

Said = tuple[tuple[tuple[int, int, str], ...], ...]


@dataclass
class Caller:
    """Asks on one connection, or on a new one each time, until told to stop; keeps how often each version said what."""

    address: str
    keep_alive: bool
    stop: threading.Event
    said: Counter[tuple[str, Said]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    last: str = ""
    asked: int = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while not self.stop.is_set():
            try:
                connection.request("POST", "/predict", BODY, TYPE)
                answer = connection.getresponse()
                self._note(answer.status, answer.read())
                self.asked += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            if not self.keep_alive:
                connection.close()
        connection.close()

    def _note(self, status: int, body: bytes) -> None:
        results = json.loads(body)["results"] if status == 200 else []
        versions = {result["model_version"] for result in results}
        if len(results) != len(TEXTS) or len(versions) != 1:
            self.failures.append(f"{status} {body!r}")
            return
        (self.last,) = versions
        self.said[self.last, tuple(map(spans, results))] += 1


def spans(result: Mapping[str, Any]) -> tuple[tuple[int, int, str], ...]:
    values = [region["value"] for region in result["result"]]
    return tuple(sorted((value["start"], value["end"], value["labels"][0]) for value in values))


def expected(words: Mapping[str, str]) -> Said:
    """What a model that knows these words says of TEXTS."""
    found = [[(text.find(word), word, label) for word, label in words.items() if word in text] for text in TEXTS]
    return tuple(tuple(sorted((at, at + len(word), label) for at, word, label in one)) for one in found)


@pytest.fixture
def versions(home: Home) -> list[str]:
    """A version for each of WORDS; the first is in service."""
    made = [home.model(words) for words in WORDS]
    home.promote(made[0])
    return made


@pytest.fixture
def backend(home: Home, versions: list[str], tmp_path: Path) -> Iterator[RunningBackend]:
    """Two workers that serve the first version."""
    with running(home.environ(WORKERS="2", THREADS="2"), tmp_path / "backend.log") as started:
        until(lambda: versions[0] in health(started))
        yield started


def health(backend: RunningBackend) -> str:
    connection = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/health")
    body = connection.getresponse().read().decode()
    connection.close()
    return body


def test_no_request_fails_while_models_are_promoted_and_rolled_back_and_each_answer_names_who_made_it(
    home: Home, versions: list[str], backend: RunningBackend
) -> None:
    first, second, third = versions
    stop = threading.Event()
    callers = [Caller(backend.url.removeprefix("http://"), keep_alive, stop) for keep_alive in CALLERS]
    threads = [threading.Thread(target=caller.run) for caller in callers]
    for thread in threads:
        thread.start()

    def asked() -> int:
        return sum(caller.asked for caller in callers)

    def followed(version: str) -> None:
        before = asked()
        until(lambda: all(caller.last == version or caller.failures for caller in callers), 60)
        until(lambda: asked() >= before + REQUESTS_A_MOVE, 60)

    try:
        for _ in range(ROUNDS):
            for version in (second, third):
                home.promote(version)
                followed(version)
                home.roll_back()
                followed(first)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [caller.failures for caller in callers] == [[], [], [], []]
    said = sum((caller.said for caller in callers), Counter[tuple[str, Said]]())
    assert said.total() >= ROUNDS * MOVES_A_ROUND * REQUESTS_A_MOVE == 2_000
    assert set(said) == {(version, expected(words)) for version, words in zip(versions, WORDS, strict=True)}
