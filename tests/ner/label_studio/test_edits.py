from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.label_studio.edits import Edits, edits_of, total
from ner.spans import Span

spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        st.integers(0, 20),
        st.integers(1, 6),
        st.sampled_from("ABC"),
    ),
    max_size=8,
    unique=True,
)


@given(spans, spans)
def test_every_span_counts_exactly_once_on_each_side(proposed: list[Span], final: list[Span]) -> None:
    found = total(edits_of(proposed, final).values())
    assert found.kept + found.moved + found.retyped + found.removed == found.proposed == len(proposed)
    assert found.kept + found.moved + found.retyped + found.added == found.final == len(final)


@given(spans, spans)
def test_of_each_type_the_counts_add_up_to_what_was_proposed_of_it(proposed: list[Span], final: list[Span]) -> None:
    found = edits_of(proposed, final)
    assert {name: one.proposed for name, one in found.items() if one.proposed} == Counter(s.label for s in proposed)


@given(spans, spans)
def test_as_many_are_kept_as_stand_on_both_sides(proposed: list[Span], final: list[Span]) -> None:
    assert total(edits_of(proposed, final).values()).kept == len(set(proposed) & set(final))


@given(spans, spans)
def test_the_way_back_keeps_and_retypes_as_many(proposed: list[Span], final: list[Span]) -> None:
    there, back = (total(edits_of(*pair).values()) for pair in ((proposed, final), (final, proposed)))
    assert (there.kept, there.retyped) == (back.kept, back.retyped)


@given(spans)
def test_what_is_submitted_unchanged_is_kept(proposed: list[Span]) -> None:
    scored = [Span(one.start, one.end, one.label, 0.5) for one in proposed]
    assert total(edits_of(scored, proposed).values()) == Edits(kept=len(proposed))


@given(spans, spans)
def test_a_span_that_stands_twice_counts_once(proposed: list[Span], final: list[Span]) -> None:
    assert edits_of([*proposed, *proposed], [*final, *final]) == edits_of(proposed, final)


A, B = Span(0, 5, "A"), Span(6, 9, "B")


@pytest.mark.parametrize(
    ("proposed", "final", "expected"),
    [
        ([A], [A], {"A": Edits(kept=1)}),
        ([A], [Span(0, 5, "B")], {"A": Edits(retyped=1)}),
        ([A], [Span(0, 4, "A")], {"A": Edits(moved=1)}),
        ([A], [Span(0, 4, "B")], {"A": Edits(removed=1), "B": Edits(added=1)}),
        ([A], [Span(5, 8, "A")], {"A": Edits(removed=1, added=1)}),
        ([A], [], {"A": Edits(removed=1)}),
        ([], [B], {"B": Edits(added=1)}),
        ([A, B], [A, Span(6, 9, "A")], {"A": Edits(kept=1), "B": Edits(retyped=1)}),
        # One region in place of two: the one that shares more of it was moved.
        ([Span(0, 5, "A"), Span(6, 9, "A")], [Span(0, 9, "A")], {"A": Edits(moved=1, removed=1)}),
        ([Span(0, 9, "A")], [Span(0, 2, "A"), Span(3, 9, "A")], {"A": Edits(moved=1, added=1)}),
        ([], [], {}),
    ],
)
def test_each_way_to_change_a_region_has_its_name(
    proposed: list[Span], final: list[Span], expected: dict[str, Edits]
) -> None:
    assert edits_of(proposed, final) == expected
