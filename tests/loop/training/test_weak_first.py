from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loop.settings.model import TrainSettings, WeakSettings
from loop.training.batches import IGNORED, FramedWindow
from loop.training.progress import TrainingProgress
from loop.training.trainer import cross_entropy, make_plan
from loop.training.weak_first import MOST_WINDOWS, PASSES, Lesson, StageLimits, holds_rare, learn, mixture
from ner.labels import LabelSet

LABELS = LabelSet(("OS", "SOFTWARE"))
B_OS, B_SOFTWARE = 1, 3


def window(tag: int, soft: bool = False) -> FramedWindow:
    shares = np.tile([0.5, 0.5, 0, 0, 0], (2, 1)) if soft else None
    return FramedWindow(np.array([1, 2]), np.array([0, tag]), shares)


WEAK = [window(B_OS, soft=True) for _ in range(40)]
# One window of five holds the rare type.
GOLD = [window(B_SOFTWARE), *(window(B_OS) for _ in range(4))]


def times(mixed: tuple[FramedWindow, ...], *wanted: FramedWindow) -> int:
    return sum(any(one is other for other in wanted) for one in mixed)


def test_each_weak_window_stands_there_equally_often_and_gold_more_often_by_its_factor_and_a_rare_type() -> None:
    mixed = mixture(WEAK, GOLD, LABELS, WeakSettings(oversampling=2, rare_boost=1, share=1), seed=1)
    assert all(times(mixed, one) == PASSES for one in WEAK)
    assert holds_rare(GOLD, LABELS).tolist() == [1, 0, 0, 0, 0]
    assert [times(mixed, one) for one in GOLD] == [3 * PASSES, *[2 * PASSES] * 4]
    assert times(mixed[: len(mixed) // 2], *WEAK) < times(mixed, *WEAK)


@pytest.mark.parametrize("oversampling", [0.0, 1.5])
def test_gold_is_repeated_until_weak_windows_are_at_most_their_share(oversampling: float) -> None:
    settings = WeakSettings(share=0.3, oversampling=oversampling, rare_boost=0)
    mixed = mixture(WEAK, GOLD, LABELS, settings, seed=1)
    assert times(mixed, *WEAK) / len(mixed) == pytest.approx(0.3, abs=0.01)


def test_the_first_stage_is_capped_and_empty_without_weak_windows() -> None:
    many = mixture(WEAK * 100, GOLD, LABELS, WeakSettings(share=0.5), seed=1)
    assert len(many) == pytest.approx(MOST_WINDOWS, rel=0.02)
    assert mixture([], GOLD, LABELS, WeakSettings(), seed=1) == ()


def test_the_loss_of_soft_tags_is_their_cross_entropy_and_that_of_certain_ones_the_usual() -> None:
    logits = torch.log(torch.tensor([[[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]]))
    tags = torch.tensor([[1, 0, IGNORED]])
    soft = torch.tensor([[[0.5, 0.5], [1.0, 0.0], [0.3, 0.7]]])
    expected = -(0.5 * math.log(0.25) + 0.5 * math.log(0.75) + math.log(0.5)) / 2
    assert float(cross_entropy(logits, tags, soft)) == pytest.approx(expected)
    certain = torch.nn.functional.one_hot(tags.clamp(min=0), 2).float()
    assert float(cross_entropy(logits, tags, certain)) == pytest.approx(float(cross_entropy(logits, tags, None)))


def test_gold_alone_is_learned_last_at_the_rate_of_a_training_that_goes_on() -> None:
    class Watching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = torch.nn.Embedding(8, 5)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            seen.append(input_ids[:, 0].tolist())
            return SimpleNamespace(logits=self.scores(input_ids))

    seen: list[list[int]] = []
    settings = TrainSettings(passes=1)
    weak = tuple(FramedWindow(np.array([7, 7]), one.tags, one.soft) for one in WEAK)
    done = learn(Watching(), Lesson(tuple(GOLD), weak), settings, 0, TrainingProgress(), limits=StageLimits(32, 2))
    assert (done.first_steps, done.steps, done.learning_rate) == (2, 2, settings.warm_learning_rate)
    assert [set(batch) for batch in seen] == [{7}, {7}, {1}, {1}]
    assert make_plan(len(GOLD), settings, warm=True).steps > done.steps
