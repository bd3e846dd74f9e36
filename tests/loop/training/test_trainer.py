from __future__ import annotations

import os

import pytest
import torch

from loop.settings.model import TrainSettings
from loop.training.trainer import make_plan, reproducible

SETTINGS = TrainSettings(batch_size=32, epochs=4, min_steps=200, warm_epochs=3)


def test_much_data_is_passed_over_once_an_epoch_in_full_batches() -> None:
    plan = make_plan(8448, SETTINGS, warm=False)
    assert (plan.batch_size, plan.passes, plan.steps_per_epoch, plan.steps) == (32, 1, 264, 4 * 264)


def test_twenty_windows_get_small_batches_and_several_passes() -> None:
    plan = make_plan(20, SETTINGS, warm=False)
    assert (plan.batch_size, plan.steps_per_epoch) == (4, 5 * plan.passes)
    assert plan.passes == 10  # 200 steps / (4 epochs * 5 steps)
    assert plan.steps == SETTINGS.min_steps


def test_a_warm_start_is_shorter_and_slower() -> None:
    cold, warm = (make_plan(1000, SETTINGS, warm=warm) for warm in (False, True))
    assert warm.epochs == 3 < cold.epochs
    assert warm.learning_rate == SETTINGS.warm_learning_rate < cold.learning_rate
    assert make_plan(20, SETTINGS, warm=True).steps < make_plan(20, SETTINGS, warm=False).steps


@pytest.mark.parametrize("windows", [1, 2, 15, 16, 17, 100, 511, 512, 513])
def test_a_plan_has_steps_enough_for_any_number_of_windows(windows: int) -> None:
    plan = make_plan(windows, SETTINGS, warm=False)
    assert plan.steps >= SETTINGS.min_steps
    assert 1 <= plan.batch_size <= 32


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
