from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ner.confidence import (
    CONFIDENCES,
    DEFAULT_CONFIDENCE,
    least_confidence,
    max_entropy,
    mean_entropy,
    minimum_margin,
    mnlp,
)
from ner.decoding import log_softmax

Array = npt.NDArray[Any]

TWO_TOKENS = np.array([[0.5, 0.25, 0.25], [0.9, 0.1, 0.0]])

probabilities = arrays.arrays(
    np.float64, st.tuples(st.integers(0, 6), st.just(5)), elements=st.floats(-50, 50, width=32)
).map(lambda logits: np.exp(log_softmax(logits)))


@pytest.mark.parametrize("name", CONFIDENCES)
@given(probs=probabilities)
def test_every_confidence_lies_between_zero_and_one(name: str, probs: Array) -> None:
    assert 0.0 <= CONFIDENCES[name](probs) <= 1.0


@pytest.mark.parametrize("name", CONFIDENCES)
def test_no_tokens_leave_nothing_to_be_unsure_of(name: str) -> None:
    assert CONFIDENCES[name](np.empty((0, 5))) == 1.0


@pytest.mark.parametrize("name", CONFIDENCES)
def test_certainty_is_one_and_a_toss_up_scores_below_it(name: str) -> None:
    certain = np.array([[1.0, 0.0, 0.0]])
    assert CONFIDENCES[name](certain) == 1.0
    assert CONFIDENCES[name](np.full((1, 3), 1 / 3)) < 0.5


def test_minimum_margin_is_that_of_the_least_certain_token() -> None:
    assert minimum_margin(TWO_TOKENS) == 0.5 - 0.25


def test_mnlp_is_the_geometric_mean_of_the_best_tags() -> None:
    assert mnlp(TWO_TOKENS) == pytest.approx((0.5 * 0.9) ** (1 / 2))


def test_least_confidence_is_the_probability_of_the_best_sequence() -> None:
    assert least_confidence(TWO_TOKENS) == pytest.approx(0.5 * 0.9)


def test_entropies_are_shares_of_the_largest_possible() -> None:
    first = (0.5 * math.log(2) + 2 * 0.25 * math.log(4)) / math.log(3)
    second = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(3)
    assert max_entropy(TWO_TOKENS) == pytest.approx(1 - first)
    assert mean_entropy(TWO_TOKENS) == pytest.approx(1 - (first + second) / 2)


def test_mnlp_does_not_fall_with_length_and_least_confidence_does() -> None:
    longer = np.repeat(TWO_TOKENS, 3, axis=0)
    assert mnlp(longer) == pytest.approx(mnlp(TWO_TOKENS))
    assert least_confidence(longer) < least_confidence(TWO_TOKENS)


def test_the_default_is_in_the_registry() -> None:
    assert CONFIDENCES[DEFAULT_CONFIDENCE] is minimum_margin
