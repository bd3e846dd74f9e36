"""What a training that goes on reads, and when it starts at the encoder again."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loop.settings.model import TrainSettings
from loop.training.batches import FramedWindow
from loop.training.dataset import Dataset, TrainingDocument
from loop.training.trainer import make_plan
from loop.training.warm_start import DRIFT, MOST_NEW, SHARE, TIMES, growth, replayed
from store.registry import GOLD

SETTINGS = TrainSettings()


def windows(number: int) -> list[FramedWindow]:
    return [FramedWindow(np.array([1, 2]), np.array([0, 1]), mentions=((1, 2),)) for _ in range(number)]


def dataset(*versions: int) -> Dataset:
    """Documents with these annotation versions; a document is its version modulo 100."""
    return Dataset(tuple(TrainingDocument(v % 100, str(v), str(v), "x", (), v) for v in versions), (), GOLD)


def test_fifty_new_texts_of_two_thousand_are_read_ten_times_in_a_tenth_of_the_windows() -> None:
    old, new = windows(2000), windows(50)
    read, plan = replayed(old, new, SETTINGS)
    whole = make_plan(2050, SETTINGS, warm=False)
    assert len(read) == round(SHARE * whole.epochs * 2050)
    times = Counter(id(one.ids) for one in read)
    assert {times[id(one.ids)] for one in new} == {TIMES}
    assert (plan.epochs, plan.learning_rate) == (1, SETTINGS.warm_learning_rate)
    assert plan.steps_per_epoch == -(-len(read) // plan.batch_size)
    assert not any(one.mentions for one in read)  # read as they stand


@given(st.integers(0, 300), st.integers(0, 300))
def test_old_windows_are_read_equally_often_and_new_ones_take_at_most_their_share(old: int, new: int) -> None:
    """A property, of any number of windows."""
    before, since = windows(old), windows(new)
    if not before and not since:
        return
    read, _ = replayed(before, since, SETTINGS)
    times = Counter(id(one.ids) for one in read)
    counts = {times[id(one.ids)] for one in before}
    assert not counts or max(counts) - min(counts) <= 1
    [each] = {times[id(one.ids)] for one in since} or {1}
    assert 1 <= each <= TIMES
    assert each == 1 or not before or each * new <= MOST_NEW * len(read) + 1


def test_what_is_new_is_counted_against_all_models_before_and_drift_against_the_first() -> None:
    learned = [frozenset({1, 2, 3, 104}), frozenset({1, 2, 3, 4})]
    grown = growth(dataset(1, 2, 3, 104, 5), learned)
    assert (grown.texts, grown.new, grown.since_encoder, grown.steps) == (5, {5}, 2, 2)
    assert grown.share == 2 / 5 > DRIFT
    told = grown.obstacle()
    assert told is not None
    assert told.startswith("2 of 5 texts (40%) are new since the last training from the encoder")
    assert growth(dataset(1, 2, 3, 4, 5), learned).obstacle() is None


def test_without_a_model_before_everything_is_new() -> None:
    assert growth(dataset(1, 2), ()).new == {1, 2}
