"""Scores by hand, against an independent count over span sets, and as a bundle's answers give them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loop.evaluation.scores import PRF, evaluate_bundle, score
from ner.documents import LabelledText
from ner.errors import InputError
from ner.labels import LabelSet
from ner.models.bundle import load_bundle
from ner.spans import Span
from ner.tagger import Tagger
from tests.fakes import tiny_bundle

LABELS = LabelSet(("OS", "SOFT-WARE-", "B-ERROR", "IDLE"))
SIDES = 40


@st.composite
def flat_spans(draw: st.DrawFn) -> tuple[Span, ...]:
    """Spans that do not overlap but may touch."""
    cuts = sorted(draw(st.sets(st.integers(0, SIDES), max_size=12)))
    pieces = list(pairwise(cuts))
    chosen = draw(st.lists(st.sampled_from(pieces), unique=True)) if pieces else []
    return tuple(Span(a, b, draw(st.sampled_from(LABELS.types[:3])), draw(st.none() | st.just(0.5))) for a, b in chosen)


corpora = st.lists(st.tuples(flat_spans(), flat_spans()), max_size=6)


def independent(corpus: Sequence[tuple[Sequence[Span], Sequence[Span]]], kinds: Sequence[str]) -> tuple[int, int, int]:
    """(true positives, predicted, gold) by sets over the whole corpus."""
    gold = {(n, s.start, s.end, s.label) for n, (side, _) in enumerate(corpus) for s in side if s.label in kinds}
    found = {(n, s.start, s.end, s.label) for n, (_, side) in enumerate(corpus) for s in side if s.label in kinds}
    return len(gold & found), len(found), len(gold)


def figures(hits: int, found: int, gold: int) -> PRF:
    precision, recall = hits / found if found else 0.0, hits / gold if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return PRF(precision, recall, f1, gold, hits, found)


def assert_same(row: PRF, expected: PRF) -> None:
    for name in PRF.__slots__:
        assert getattr(row, name) == pytest.approx(getattr(expected, name)), name


@settings(max_examples=300, deadline=None)
@given(corpora)
def test_seqeval_over_segments_equals_an_independent_count_over_span_sets(
    corpus: list[tuple[tuple[Span, ...], tuple[Span, ...]]],
) -> None:
    scores = score([gold for gold, _ in corpus], [found for _, found in corpus], LABELS)
    for kind in LABELS.types:
        assert_same(scores.per_type[kind], figures(*independent(corpus, [kind])))
    assert_same(scores.micro, figures(*independent(corpus, LABELS.types)))


@settings(max_examples=100, deadline=None)
@given(corpora)
def test_counts_per_document_are_those_of_each_document_alone(
    corpus: list[tuple[tuple[Span, ...], tuple[Span, ...]]],
) -> None:
    counts = score([gold for gold, _ in corpus], [found for _, found in corpus], LABELS).counts
    for row, pair in enumerate(corpus):
        for column, kind in enumerate(LABELS.types):
            arrays = (counts.true_positives, counts.predicted, counts.gold)
            assert tuple(array[row, column] for array in arrays) == independent([pair], [kind])


def test_a_boundary_off_by_one_and_a_wrong_type_are_both_wrong() -> None:
    gold = [[Span(0, 7, "OS"), Span(8, 10, "OS"), Span(11, 15, "SOFT-WARE-")]]
    predicted = [[Span(0, 7, "OS", 0.9), Span(8, 9, "OS"), Span(11, 15, "OS")]]
    scores = score(gold, predicted, LABELS)
    assert scores.per_type["OS"] == PRF(1 / 3, 1 / 2, 2 / 5, 2, 1, 3)
    assert scores.per_type["SOFT-WARE-"] == PRF(0, 0, 0, 1, 0, 0)
    assert scores.micro == PRF(1 / 3, 1 / 3, 1 / 3, 3, 1, 3)


def test_two_touching_spans_are_not_one_long_span() -> None:
    scores = score([[Span(0, 4, "OS"), Span(4, 8, "OS")]], [[Span(0, 8, "OS")]], LABELS)
    assert scores.micro.true_positives == 0


def test_macro_is_the_mean_over_types_with_a_gold_or_a_predicted_span() -> None:
    scores = score([[Span(0, 2, "OS")]], [[Span(0, 2, "OS"), Span(3, 4, "B-ERROR")]], LABELS)
    assert scores.macro.f1 == (1 + 0) / 2
    assert scores.macro.precision == (1 + 0) / 2
    assert (scores.macro.support, scores.macro.true_positives, scores.macro.predicted) == (1, 1, 2)


def test_nothing_to_find_and_nothing_found_scores_zero_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    scores = score([[], []], [[], []], LABELS)
    assert scores.micro == scores.macro == PRF(0, 0, 0, 0, 0, 0)
    assert scores.documents == 2
    assert not recwarn.list


def test_no_document_at_all_scores_zero() -> None:
    assert score([], [], LABELS).micro.f1 == 0


def test_overlapping_spans_of_one_side_are_refused() -> None:
    with pytest.raises(ValueError, match="do not overlap"):
        score([[Span(0, 4, "OS"), Span(2, 6, "IDLE")]], [[]], LABELS)


def test_a_label_outside_the_label_set_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="FRUIT"):
        score([[Span(0, 4, "FRUIT")]], [[]], LABELS)


def test_of_overlapping_gold_the_longest_span_counts_when_a_bundle_is_evaluated(tmp_path: Path) -> None:
    tagger = Tagger(load_bundle(tiny_bundle(tmp_path / "tiny", LABELS.types, {"xp": "OS"})))
    short, long = Span(0, 2, "OS"), Span(0, 6, "OS")
    documents = [LabelledText("a", "XP SP3", (short,)), LabelledText("b", "XP SP3", (short, long))]
    assert evaluate_bundle(tagger, documents).micro == PRF(1 / 2, 1 / 2, 1 / 2, 2, 1, 2)


def test_white_space_at_the_ends_of_gold_changes_no_score_when_a_bundle_is_evaluated(tmp_path: Path) -> None:
    tagger = Tagger(load_bundle(tiny_bundle(tmp_path / "tiny", LABELS.types, {"xp": "OS"})))
    clean = [LabelledText("a", "on XP now", (Span(3, 5, "OS"),))]
    spaced = [LabelledText("a", "on XP now", (Span(2, 6, "OS"), Span(5, 6, "IDLE")))]
    assert evaluate_bundle(tagger, spaced).as_dict() == evaluate_bundle(tagger, clean).as_dict()
    assert evaluate_bundle(tagger, spaced).micro.f1 == 1


def test_scores_as_a_dictionary_hold_micro_macro_and_every_type() -> None:
    rows = score([[Span(0, 2, "OS")]], [[]], LABELS).as_dict()
    assert set(rows) == {"micro", "macro", *LABELS.types}
    assert rows["OS"] == {
        "precision": 0, "recall": 0, "f1": 0, "support": 1, "true_positives": 0, "predicted": 0,
    }  # fmt: skip
