"""Every span of either side is accounted for once, and what is shown is what there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.evaluation.errors import (
    BOUNDARY,
    ERRORS,
    MISSED,
    RIGHT,
    SPURIOUS,
    TYPE,
    ErrorAnalysis,
    JudgedText,
    analyse,
    confusion_matrix,
    confusions,
    examples,
    pair,
    per_type,
)
from loop.evaluation.scores import count
from ner.labels import LabelSet
from ner.spans import Span, drop_overlaps

TYPES = ("A", "B", "C")
TEXT = "the quick brown fox jumps over the lazy dog "


def spans(length: int = 40) -> st.SearchStrategy[tuple[Span, ...]]:
    one = st.builds(
        lambda start, size, label: Span(start, min(length, start + size), label),
        st.integers(0, length - 1),
        st.integers(1, 12),
        st.sampled_from(TYPES),
    )
    return st.lists(one, max_size=8).map(lambda found: drop_overlaps(found)[0])


documents = st.lists(st.builds(JudgedText, st.just("d"), st.just(TEXT), spans(), spans()), max_size=4)


def kinds(gold: list[Span], predicted: list[Span]) -> list[str]:
    return [pairing.kind for pairing in pair(gold, predicted)]


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ((0, 5, "A"), (0, 5, "A"), [RIGHT]),
        ((0, 5, "A"), (0, 4, "A"), [BOUNDARY]),
        ((0, 5, "A"), (0, 5, "B"), [TYPE]),
        ((0, 5, "A"), (3, 9, "B"), [TYPE]),
        ((0, 5, "A"), (5, 9, "A"), [MISSED, SPURIOUS]),
    ],
)
def test_a_pair_of_spans_is_of_the_kind_that_its_types_and_bounds_make_it(gold, predicted, expected):
    assert kinds([Span(*gold)], [Span(*predicted)]) == expected


def test_nothing_is_missed_or_spurious_alone():
    assert kinds([Span(0, 2, "A")], []) == [MISSED]
    assert kinds([], [Span(0, 2, "A")]) == [SPURIOUS]


def test_of_two_predictions_in_one_gold_span_the_one_that_shares_most_answers_it():
    found = pair([Span(0, 10, "A")], [Span(0, 3, "A"), Span(4, 10, "B")])
    assert {one.predicted for one in found if one.kind == TYPE} == {Span(4, 10, "B")}


def test_where_both_share_as_much_the_one_of_the_same_type_answers_it():
    found = pair([Span(0, 10, "A")], [Span(0, 5, "B"), Span(5, 10, "A")])
    assert {one.predicted for one in found if one.kind == BOUNDARY} == {Span(5, 10, "A")}


@given(documents)
def test_each_span_of_either_side_is_in_one_pairing(given: list[JudgedText]):
    for document, row in zip(given, analyse(given).pairings, strict=True):
        assert sorted(one.gold for one in row if one.gold) == sorted(document.gold)
        assert sorted(one.predicted for one in row if one.predicted) == sorted(document.predicted)


@given(documents)
def test_counts_add_up_to_the_gold_and_to_the_predicted_spans_of_each_type(given: list[JudgedText]):
    rows = per_type(analyse(given), TYPES)
    for row in rows:
        gold = sum(span.label == row.type for one in given for span in one.gold)
        predicted = sum(span.label == row.type for one in given for span in one.predicted)
        assert row.right + row.boundary + row.mistyped + row.missed == gold
        assert row.right + row.boundary + row.taken + row.spurious == predicted


@given(documents)
def test_what_is_right_is_what_the_evaluation_calls_right(given: list[JudgedText]):
    counts = count([one.gold for one in given], [one.predicted for one in given], LabelSet(TYPES))
    assert [row.right for row in per_type(analyse(given), TYPES)] == counts.true_positives.sum(axis=0).tolist()


@given(documents)
def test_rows_of_the_matrix_are_gold_and_its_columns_are_predictions(given: list[JudgedText]):
    table = confusion_matrix(analyse(given), TYPES)
    for index, name in enumerate(TYPES):
        assert sum(table[index]) == sum(span.label == name for one in given for span in one.gold)
        assert sum(row[index] for row in table) == sum(span.label == name for one in given for span in one.predicted)
    assert table[-1][-1] == 0


@given(documents)
def test_costs_are_what_micro_f1_would_gain(given: list[JudgedText]):
    """Mended one confusion at a time: the rule is checked by mending the counts, not by the formula."""
    analysis = analyse(given)
    counts = analysis.count()
    right = sum(number for key, number in counts.items() if key[0] == RIGHT)
    gold, predicted = (sum(len(getattr(one, side)) for one in given) for side in ("gold", "predicted"))
    for one in confusions(analysis):
        hits = right + (one.count if one.kind != SPURIOUS else 0)
        said = predicted + (one.count if one.kind == MISSED else -one.count if one.kind == SPURIOUS else 0)
        precision, recall = (hits / said if said else 0.0), (hits / gold if gold else 0.0)
        mended = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert one.cost == pytest.approx(mended - 2 * right / (gold + predicted))


def test_confusions_are_ordered_by_what_they_cost():
    text = "x" * 30
    given = [
        JudgedText("d", text, (Span(0, 2, "A"), Span(4, 6, "A"), Span(8, 10, "B")), (Span(0, 2, "B"), Span(4, 6, "B"))),
    ]
    first, second = confusions(analyse(given))
    assert (first.kind, first.gold, first.predicted, first.count) == (TYPE, "A", "B", 2)
    assert (second.kind, second.gold, second.count) == (MISSED, "B", 1)


@given(documents)
def test_examples_show_both_spans_as_they_stand_in_the_text(given: list[JudgedText]):
    for one in examples(analyse(given), 3):
        for side, name in ((one.gold, "gold"), (one.predicted, "predicted")):
            shown = "".join(piece.text for piece in one.pieces if getattr(piece, name))
            assert shown == ("" if side is None else TEXT[side.start : side.end])


@given(documents, st.integers(0, 5))
def test_no_more_examples_of_a_kind_are_shown_than_asked_for_and_none_twice(given: list[JudgedText], each: int):
    shown = examples(analyse(given), each)
    for kind in ERRORS:
        assert sum(one.kind == kind for one in shown) <= each
    assert len({(one.kind, one.document, one.gold, one.predicted) for one in shown}) <= len(shown)


def errors_of(*labels: str) -> ErrorAnalysis:
    """One missed span of each label, in texts that differ."""
    return analyse(JudgedText(f"d{n}", f"{n}{n} word", (Span(0, 2, label),), ()) for n, label in enumerate(labels))


def test_the_most_frequent_confusion_is_shown_first_and_each_once_before_one_twice():
    shown = examples(errors_of("A", "B", "B", "B", "C"), 4)
    assert [one.gold.label for one in shown if one.gold] == ["B", "A", "C", "B"]


def test_the_same_words_confused_in_the_same_way_are_shown_once_with_their_number():
    given = [JudgedText(f"d{n}", "Excel fails", (Span(0, 5, "A"),), ()) for n in range(3)]
    (only,) = examples(analyse(given), 8)
    assert (only.document, only.times) == ("d0", 3)


def test_of_one_confusion_what_befell_the_same_words_most_often_is_shown_first():
    words = ("Word", "Excel", "Excel")
    given = [JudgedText(f"d{n}", f"{word} fails", (Span(0, len(word), "A"),), ()) for n, word in enumerate(words)]
    assert [one.times for one in examples(analyse(given), 8)] == [2, 1]


def test_a_long_text_and_a_long_span_are_cut_and_the_cut_is_shown():
    text = f"{'a ' * 500}{'x' * 10_000}{' b' * 500}"
    (shown,) = examples(analyse([JudgedText("d", text, (Span(1000, 11_000, "A"),), ())]), 1)
    written = "".join(piece.text for piece in shown.pieces)
    assert len(written) < 400
    assert written.startswith("… ")
    assert written.endswith(" …")
    assert sum(piece.text.count("…") for piece in shown.pieces if piece.gold) == 1


def test_no_document_has_no_error():
    analysis = analyse([])
    assert confusion_matrix(analysis, TYPES) == ((0, 0, 0, 0),) * 4
    assert (confusions(analysis), examples(analysis, 5)) == ((), ())
