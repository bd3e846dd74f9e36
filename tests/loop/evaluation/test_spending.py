"""What looks may spend adds up to what was allowed, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.evaluation.significance import SCHEDULES, alpha_of, permutations_for, spent_after

totals = st.floats(0.001, 0.5)
numbers_of_looks = st.integers(1, 200)


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(total=totals, looks=numbers_of_looks)
def test_the_looks_of_an_epoch_spend_its_alpha_and_no_more(schedule: str, total: float, looks: int) -> None:
    parts = [alpha_of(schedule, total, looks, number) for number in range(1, looks + 1)]
    assert sum(parts) == pytest.approx(total)
    assert all(part > 0 for part in parts)
    assert parts == sorted(parts, reverse=True)
    assert spent_after(schedule, total, looks, looks) <= total
    assert spent_after(schedule, total, looks, looks + 5) <= total


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_behind_the_last_look_nothing_is_left(schedule: str) -> None:
    assert alpha_of(schedule, 0.05, 10, 11) == 0


def test_the_default_gives_each_of_ten_looks_a_tenth() -> None:
    assert [alpha_of("even", 0.05, 10, number) for number in (1, 5, 10)] == pytest.approx([0.005] * 3)


def test_the_decreasing_schedule_falls_with_the_square_of_the_number() -> None:
    first, third = (alpha_of("decreasing", 0.05, 10, number) for number in (1, 3))
    assert first / third == pytest.approx(9)


def test_a_smaller_alpha_gets_more_permutations() -> None:
    assert permutations_for(0.005, 1000) == 4000
    assert permutations_for(0.005, 10_000) == 10_000
