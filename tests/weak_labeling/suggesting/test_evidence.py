"""The lower bound of how right an entry is."""

from __future__ import annotations

from math import comb

import pytest

from weak_labeling.suggesting.evidence import lower_bound


def verdicts(right: int, documents: int) -> list[list[bool]]:
    return [[True]] * right + [[False]] * (documents - right)


@pytest.mark.parametrize("tried", [1, 20])
@pytest.mark.parametrize("documents", [1, 2, 5, 30])
@pytest.mark.parametrize("share", [0.1, 0.43, 0.6, 0.9])
def test_a_bound_is_above_the_truth_at_most_once_in_twenty(share: float, documents: int, tried: int) -> None:
    """Of one entry; of the best of 20, at most once in 400."""
    too_high = sum(
        comb(documents, right) * share**right * (1 - share) ** (documents - right)
        for right in range(documents + 1)
        if lower_bound(verdicts(right, documents), tried) > share
    )
    assert too_high <= 0.05 / tried


def test_the_bound_is_no_lower_than_it_has_to_be() -> None:
    assert lower_bound(verdicts(3, 3)) == pytest.approx(0.05 ** (1 / 3))
    assert lower_bound(verdicts(1, 2)) == pytest.approx(1 - 0.95**0.5)  # one of two is right: 1 - (1 - p)^2 = 0.05


def test_a_document_is_one_trial_however_many_verdicts_it_has() -> None:
    assert lower_bound([[True] * 9, [True]]) == lower_bound(verdicts(2, 2))
    assert lower_bound(verdicts(1, 2)) < lower_bound([[True, False, True], [True]]) < lower_bound(verdicts(2, 2))


def test_without_a_right_verdict_the_bound_is_zero() -> None:
    assert lower_bound([]) == lower_bound(verdicts(0, 4)) == 0.0
