from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ner.alignment import as_offsets
from ner.decoding import is_valid_path, log_softmax, tags_to_spans, viterbi
from ner.labels import LabelSet
from ner.spans import Span

Array = npt.NDArray[Any]

LABELS = LabelSet(("OS", "VERSION"))
OUT, B_OS, I_OS, B_VERSION, I_VERSION = range(5)

logits = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.just(5)), elements=st.floats(-20, 20, allow_nan=False, width=32)
)


@given(logits)
def test_the_path_found_is_the_best_of_all_valid_paths(values: Array) -> None:
    log_probs = log_softmax(values)
    rows = np.arange(len(values))
    every_path = (np.array(path) for path in product(range(5), repeat=len(values)))
    best = max(log_probs[rows, path].sum() for path in every_path if is_valid_path(path, LABELS))
    found = viterbi(log_probs, LABELS)
    assert is_valid_path(found, LABELS)
    assert log_probs[rows, found].sum() == pytest.approx(best, abs=1e-9)


costs = arrays.arrays(np.float64, st.just(4), elements=st.sampled_from([0.0, 0.5, 4.0, 30.0]))


@given(logits, costs)
def test_with_costs_the_path_found_is_the_best_after_paying_for_each_break(values: Array, prices: Array) -> None:
    log_probs = log_softmax(values)
    rows = np.arange(len(values))

    def worth(path: Array) -> float:
        pairs = enumerate(pairwise(path.tolist()), start=1)
        paid = (prices[at] for at, (one, other) in pairs if other in (B_OS, B_VERSION) or (one != OUT and other == OUT))
        return float(log_probs[rows, path].sum() - sum(paid))

    every_path = (np.array(path) for path in product(range(5), repeat=len(values)))
    best = max(worth(path) for path in every_path if is_valid_path(path, LABELS))
    found = viterbi(log_probs, LABELS, prices[: len(values)])
    assert is_valid_path(found, LABELS)
    assert worth(found) == pytest.approx(best, abs=1e-9)


@given(arrays.arrays(np.float64, st.tuples(st.integers(0, 30), st.just(5)), elements=st.sampled_from([-np.inf, -1.0])))
def test_the_path_is_valid_even_where_probabilities_are_zero(log_probs: Array) -> None:
    assert is_valid_path(viterbi(log_probs, LABELS), LABELS)


@given(logits)
def test_log_softmax_rows_sum_to_one_for_logits_of_any_size(values: Array) -> None:
    assert np.exp(log_softmax(values * 1e30)).sum(axis=1) == pytest.approx(np.ones(len(values)))
    assert log_softmax(values + 1000.0) == pytest.approx(log_softmax(values))


def test_an_inside_tag_on_its_own_is_repaired_to_a_begin_tag_when_that_is_likelier_than_outside() -> None:
    log_probs = np.log([[0.1, 0.3, 0.4, 0.1, 0.1], [0.1, 0.1, 0.6, 0.1, 0.1]])
    assert viterbi(log_probs, LABELS).tolist() == [B_OS, I_OS]


def test_a_path_that_changes_type_inside_is_not_valid() -> None:
    assert not is_valid_path(np.array([B_OS, I_VERSION]), LABELS)
    assert not is_valid_path(np.array([I_OS]), LABELS)
    assert is_valid_path(np.array([B_OS, I_OS, B_OS, OUT, B_VERSION, I_VERSION]), LABELS)


def test_the_score_of_a_span_is_the_geometric_mean_of_its_tags() -> None:
    probs = np.full((2, 5), 0.1)
    probs[0, B_OS], probs[1, I_OS] = 0.9, 0.4
    (span,) = tags_to_spans(np.array([B_OS, I_OS]), as_offsets([(0, 3), (3, 5)]), LABELS, probs)
    assert span.without_score() == Span(0, 5, "OS")
    assert span.score == pytest.approx((0.9 * 0.4) ** 0.5)


def test_a_probability_of_zero_scores_zero() -> None:
    (span,) = tags_to_spans(np.array([B_OS]), as_offsets([(0, 3)]), LABELS, np.zeros((1, 5)))
    assert span.score == 0.0


def test_tokens_without_characters_lend_a_span_no_boundary() -> None:
    offsets = as_offsets([(0, 0), (2, 4), (5, 5)])
    assert tags_to_spans(np.array([B_OS, I_OS, I_OS]), offsets, LABELS) == (Span(2, 4, "OS"),)
    assert tags_to_spans(np.array([B_OS, OUT, OUT]), offsets, LABELS) == ()


def test_entities_that_meet_in_the_bytes_of_one_character_never_overlap() -> None:
    bytes_of_an_emoji = as_offsets([(0, 1), (0, 1), (1, 3)])
    assert tags_to_spans(np.array([B_OS, B_OS, I_OS]), bytes_of_an_emoji, LABELS) == (
        Span(0, 1, "OS"),
        Span(1, 3, "OS"),
    )
    assert tags_to_spans(np.array([B_OS, B_OS, OUT]), bytes_of_an_emoji, LABELS) == (Span(0, 1, "OS"),)


def test_an_invalid_path_is_refused_rather_than_guessed_at() -> None:
    with pytest.raises(ValueError, match="viterbi"):
        tags_to_spans(np.array([OUT, I_OS]), as_offsets([(0, 1), (1, 2)]), LABELS)


def test_no_tokens_have_no_spans() -> None:
    empty = np.empty((0, 5))
    assert tags_to_spans(viterbi(log_softmax(empty), LABELS), as_offsets([]), LABELS) == ()


def test_the_score_of_a_very_long_span_does_not_underflow() -> None:
    count = 2000
    tags = np.array([B_OS] + [I_OS] * (count - 1))
    offsets = as_offsets([(n, n + 1) for n in range(count)])
    (span,) = tags_to_spans(tags, offsets, LABELS, np.full((count, 5), 0.5))
    assert span.score == pytest.approx(0.5)
