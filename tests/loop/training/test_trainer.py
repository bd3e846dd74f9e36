from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loop.settings.model import TrainSettings
from loop.training.batches import FramedWindow
from loop.training.progress import TrainingProgress, TrainingStep
from loop.training.trainer import Plan, make_plan, reproducible, train

SETTINGS = TrainSettings(batch_size=32, passes=20)


@pytest.mark.parametrize(
    ("windows", "epochs", "batch_size"),
    [
        (1, 316, 16), (25, 63, 16), (100, 32, 16), (250, 20, 16), (700, 20, 16), (1000, 14, 16),
        (1001, 14, 32), (2000, 7, 32), (3394, 4, 32), (9265, 4, 32),
    ],
)  # fmt: skip
def test_fewer_data_get_more_epochs_and_more_data_fewer(windows: int, epochs: int, batch_size: int) -> None:
    plan = make_plan(windows, SETTINGS, warm=False)
    assert (plan.epochs, plan.batch_size) == (epochs, batch_size)
    assert plan.steps == epochs * -(-windows // batch_size)


def test_a_plan_has_an_epoch_and_a_window_in_a_step_whatever_the_settings() -> None:
    plan = make_plan(10_000, SETTINGS.changed(passes=1, batch_size=1), warm=False)
    assert (plan.epochs, plan.batch_size) == (1, 1)


def test_a_training_that_goes_on_from_an_adapter_has_the_same_steps_and_another_rate() -> None:
    cold, warm = (make_plan(1000, SETTINGS, warm=warm) for warm in (False, True))
    assert (cold.steps, cold.learning_rate) == (warm.steps, SETTINGS.learning_rate)
    assert warm.learning_rate == SETTINGS.warm_learning_rate < cold.learning_rate


def test_a_training_leaves_the_model_with_the_average_of_its_weights() -> None:
    class Tagging(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = torch.nn.Embedding(8, 3)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=self.scores(input_ids))

    class Watching(TrainingProgress):
        def step(self, step: TrainingStep) -> None:
            after_each_step.append(model.scores.weight.detach().clone())

    after_each_step: list[torch.Tensor] = []
    torch.manual_seed(1)
    model = Tagging()
    average = model.scores.weight.detach().clone()
    windows = [FramedWindow(np.array([1, 2, 3]), np.array([0, 1, 2]))] * 40
    settings = SETTINGS.changed(passes=1, learning_rate=0.1)
    train(model, windows, make_plan(len(windows), settings, warm=False), settings, 0, Watching())
    for done, weights in enumerate(after_each_step, start=1):
        decay = min(settings.averaging, (1 + done) / (10 + done))
        average = decay * average + (1 - decay) * weights
    assert torch.allclose(model.scores.weight, average, atol=1e-6)
    assert not torch.allclose(average, after_each_step[-1], atol=0.01)


def test_the_classifier_of_a_whole_encoder_learns_at_a_rate_of_its_own() -> None:
    class Classifying(torch.nn.Module):
        base_model_prefix = "encoder"

        def __init__(self) -> None:
            super().__init__()
            self.encoder = torch.nn.Embedding(8, 3)
            self.classifier = torch.nn.Linear(3, 3)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=self.classifier(self.encoder(input_ids)))

    model = Classifying()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    settings = SETTINGS.changed(weight_decay=0.0, averaging=0.0, warmup_share=0.0, precision="float32")
    windows = [FramedWindow(np.array([1, 2, 3]), np.array([0, 1, 2]))] * 4
    train(model, windows, Plan(1, 4, 1, 1e-3, head_learning_rate=1e-2), settings, 0, TrainingProgress())
    moved = {name: (weight - before[name]).abs().max().item() for name, weight in model.named_parameters()}
    # The first step of Adam is as long as its rate.
    assert moved["encoder.weight"] == pytest.approx(1e-3, rel=0.01)
    assert [moved["classifier.weight"], moved["classifier.bias"]] == pytest.approx([1e-2, 1e-2], rel=0.01)


def test_seeds_and_threads_are_as_before_afterwards() -> None:
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    torch.set_num_threads(cores + 1)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    try:
        with reproducible(seed=7, threads=1):
            assert torch.get_num_threads() == 1
            first = torch.rand(1)
        with reproducible(seed=7, threads=0):
            assert torch.get_num_threads() == cores
            assert torch.rand(1) == first
        assert torch.get_num_threads() == cores + 1
        assert torch.rand(1) == expected
    finally:
        torch.set_num_threads(threads)
