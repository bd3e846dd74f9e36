"""How fast runtimes are: timed by turns in one process, so that a busy machine is busy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from loop.judging.measured import Speed
from ner.models.bundle import Bundle
from ner.models.network import Network
from ner.tagger import Tagger

CALL = 8
LEAST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to run a model: `one` tags a text, `several` tag the texts of a call."""

    name: str
    one: Callable[[str], object]
    several: Callable[[Sequence[str]], object]
    size_mb: float | None = None


@dataclass(slots=True)
class _Times:
    """Seconds: of each text that was run alone, and of each call of CALL texts."""

    one: list[float] = field(default_factory=list)
    several: list[float] = field(default_factory=list)


def onnx_runtime(name: str, bundle: Bundle, file: Path, threads: int) -> Runtime:
    """An ONNX file as the backend serves it: a lone text gets all threads, several texts one each."""
    lone = Tagger(replace(bundle, network=Network(file, threads)))
    several = Tagger(replace(bundle, network=Network(file)), threads)
    return Runtime(name, lone.tag, several.tag_many, file.stat().st_size / 1e6)


def measure_speeds(
    runtimes: Sequence[Runtime],
    texts: Sequence[str],
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Speed, ...]:
    """The speed of each runtime on the same texts, in the order given; none without texts.

    A round is CALL texts, one by one and then as one call, by each runtime; which runtime begins changes from round to
    round. The last round is filled up from the first texts, and few texts are gone through more than once. Before each
    turn the runtime tags the first text of the round once, uncounted: the threads of the runtime before, which wait
    awake for a moment, are then asleep.
    """
    if not texts:
        return ()
    rounds = max(LEAST_ROUNDS, -(-len(texts) // CALL))
    endless = cycle(texts)
    for runtime in runtimes:
        _turn(runtime, list(islice(cycle(texts), CALL)), _Times(), clock)
    times = [_Times() for _ in runtimes]
    for number in range(rounds):
        chunk = list(islice(endless, CALL))
        for turn in range(len(runtimes)):
            place = (number + turn) % len(runtimes)
            _turn(runtimes[place], chunk, times[place], clock)
    return tuple(_speed(runtime, taken, len(texts), threads) for runtime, taken in zip(runtimes, times, strict=True))


def _turn(runtime: Runtime, chunk: Sequence[str], times: _Times, clock: Callable[[], float]) -> None:
    runtime.one(chunk[0])
    for text in chunk:
        begun = clock()
        runtime.one(text)
        times.one.append(clock() - begun)
    begun = clock()
    runtime.several(chunk)
    times.several.append(clock() - begun)


def _speed(runtime: Runtime, times: _Times, texts: int, threads: int) -> Speed:
    median, high = (float(1000 * value) for value in np.percentile(times.one, [50, 95]))
    return Speed(
        runtime=runtime.name,
        latency_ms=median,
        latency_p95_ms=high,
        documents_per_second=CALL * len(times.several) / sum(times.several),
        size_mb=runtime.size_mb,
        texts=texts,
        threads=threads,
    )
