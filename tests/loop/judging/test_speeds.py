"""How fast runtimes are: in turns, on the same texts, by one clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loop.judging.measured import SERVED_FP32, SERVED_INT8, Efficiency, Speed
from loop.judging.served_process import tag
from loop.judging.speeds import CALL, LEAST_ROUNDS, Runtime, measure_speeds
from loop.training.served_file import precision
from tests.fakes import tiny_bundle


@dataclass
class Bench:
    """A clock that only runs while texts are tagged, and who tagged what, in order."""

    now: float = 0.0
    seen: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def runtime(self, name: str, one: Callable[[str], float], several: float) -> Runtime:
        def tag_one(text: str) -> None:
            self._pass(name, (text,), one(text))

        def tag_several(texts: Sequence[str]) -> None:
            self._pass(name, tuple(texts), several)

        return Runtime(name, tag_one, tag_several)

    def _pass(self, name: str, texts: tuple[str, ...], seconds: float) -> None:
        self.seen.append((name, texts))
        self.now += seconds


def test_speeds_are_the_median_the_95th_percentile_and_texts_a_second_in_calls_of_eight() -> None:
    bench = Bench()
    texts = [str(number) for number in range(5 * CALL)]
    slow = bench.runtime("slow", lambda text: 0.001 * int(text), several=0.5)
    even = bench.runtime("even", lambda text: 0.004, several=0.1)
    of_slow, of_even = measure_speeds([slow, even], texts, threads=2, clock=lambda: bench.now)
    assert (of_even.latency_ms, of_even.latency_p95_ms) == (pytest.approx(4), pytest.approx(4))
    assert of_even.documents_per_second == pytest.approx(8 / 0.1)
    assert of_slow.latency_ms == pytest.approx(39 / 2)
    assert of_slow.latency_p95_ms == pytest.approx(0.95 * 39)
    assert of_slow.documents_per_second == pytest.approx(8 / 0.5)
    assert (of_slow.texts, of_slow.threads) == (40, 2)


def test_runtimes_take_turns_in_every_round_on_the_same_texts_after_a_warm_up() -> None:
    bench = Bench()
    names = ("a", "b", "c")
    texts = [str(number) for number in range(7 * CALL - 3)]
    measure_speeds([bench.runtime(name, lambda text: 1.0, 1.0) for name in names], texts, 1, lambda: bench.now)
    calls = [(name, asked) for name, asked in bench.seen if len(asked) == CALL]
    assert [name for name, _ in calls] == [*"abc", *"abc", *"bca", *"cab", *"abc", *"bca", *"cab", *"abc"]
    assert all(len({asked for _, asked in calls[at : at + 3]}) == 1 for at in range(0, len(calls), 3))
    alone = [asked[0] for name, asked in bench.seen if name == "b" and len(asked) == 1]
    rounds = [[*texts, *texts[:3]][at : at + CALL] for at in range(0, 7 * CALL, CALL)]
    assert alone == [text for chunk in [rounds[0], *rounds] for text in (chunk[0], *chunk)]


def test_the_text_before_each_turn_is_not_counted() -> None:
    bench, counted = Bench(), iter([9.0, *[1.0] * CALL] * (1 + LEAST_ROUNDS))
    [speed] = measure_speeds([bench.runtime("a", lambda _: next(counted), 1.0)], ["x"], 1, lambda: bench.now)
    assert (speed.latency_ms, speed.latency_p95_ms) == (1000, 1000)


def test_few_texts_are_gone_through_more_than_once_and_none_are_not_timed() -> None:
    bench = Bench()
    [speed] = measure_speeds([bench.runtime("a", lambda text: 1.0, 1.0)], ["x", "y"], 1, lambda: bench.now)
    assert speed.texts == 2
    assert len(bench.seen) == (1 + LEAST_ROUNDS) * (CALL + 2)
    assert measure_speeds([bench.runtime("a", lambda text: 1.0, 1.0)], [], 1) == ()


@pytest.mark.parametrize(
    ("computes_in", "runtime"),
    [(precision.INT8, SERVED_INT8), (precision.PARTLY_INT8, SERVED_INT8), (precision.FP32, SERVED_FP32)],
)
def test_a_file_that_had_to_be_exported_in_fp32_is_not_timed_under_the_name_of_int8(
    tmp_path: Path, computes_in: str, runtime: str
) -> None:
    folder = tiny_bundle(tmp_path / "tiny-0001", ("OS",), {"windows": "OS"}, precision=computes_in)
    request = {"bundle": str(folder), "labels": None, "threads": 1, "texts": ["windows"], "timed": 1}
    speed = Speed(**tag(request)["speed"])
    assert speed.runtime == runtime
    assert Efficiency((speed,), memory_mb=1.0, bundle_mb=1.0).served == speed
