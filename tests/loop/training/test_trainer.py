from __future__ import annotations

import os

import pytest
import torch

from loop.settings.model import TrainSettings
from loop.training.trainer import make_plan, reproducible

SETTINGS = TrainSettings(batch_size=32, passes=20)


@pytest.mark.parametrize(
    ("windows", "epochs", "batch_size"),
    [
        (1, 316, 16), (25, 63, 16), (100, 32, 16), (250, 20, 16), (1000, 20, 16),
        (1001, 20, 32), (2000, 10, 32), (4000, 5, 32), (9265, 5, 32),
    ],
)  # fmt: skip
def test_fewer_data_get_more_epochs_and_more_data_fewer(windows: int, epochs: int, batch_size: int) -> None:
    plan = make_plan(windows, SETTINGS, warm=False)
    assert (plan.epochs, plan.batch_size) == (epochs, batch_size)
    assert plan.steps == epochs * -(-windows // batch_size)


def test_a_plan_has_an_epoch_and_a_window_in_a_step_whatever_the_settings() -> None:
    plan = make_plan(10_000, SETTINGS.changed(passes=1, batch_size=1), warm=False)
    assert (plan.epochs, plan.batch_size) == (1, 1)


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
