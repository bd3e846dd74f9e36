from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loop.quality.prelabels import Prelabels, count_prelabels, kept_interval
from ner.label_studio.edits import Edits
from store.predictions import ReviewedPrelabel

MONDAY = datetime(2026, 11, 16, 9, tzinfo=UTC)
edits = st.builds(Edits, *[st.integers(0, 4)] * 5)
reviewed = st.lists(
    st.builds(
        ReviewedPrelabel,
        annotation_version_id=st.integers(1, 99),
        group=st.sampled_from("abcdef"),
        annotator=st.just("7"),
        at=st.integers(0, 60).map(lambda days: MONDAY + timedelta(days=days)),
        version=st.sampled_from(["desk-1", "desk-2"]),
        edits=st.none() | st.dictionaries(st.sampled_from(["OS", "SOFTWARE"]), edits),
    ),
    max_size=20,
)


def one(
    day: int = 0, version: str | None = "desk-1", group: str = "a", counts: dict[str, Edits] | None = None
) -> ReviewedPrelabel:
    return ReviewedPrelabel(1, group, "7", MONDAY + timedelta(days=day), version, counts)


@given(reviewed)
def test_versions_and_weeks_and_types_count_the_same_regions(given_items: list[ReviewedPrelabel]) -> None:
    found = count_prelabels(given_items)
    known = [item for item in given_items if item.edits is not None]
    for name in ("kept", "moved", "retyped", "removed", "added"):
        expected = sum(getattr(counts, name) for item in known for counts in item.edits.values())
        assert sum(getattr(row.total, name) for row in found.versions) == expected
        assert sum(getattr(row, name) for row in found.weeks) == expected
        assert sum(getattr(row, name) for version in found.versions for row in version.types) == expected
    assert sum(row.total.texts for row in found.versions) + found.unknown == len(given_items)


@example([(0, 1)] * 5)
@given(st.lists(st.integers(0, 9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1))
def test_the_interval_holds_the_share_within_0_and_1(parts: list[tuple[int, int]]) -> None:
    total = sum(n for _, n in parts)
    if total:
        low, high = kept_interval(parts)
        assert 0 <= low <= sum(kept for kept, _ in parts) / total <= high <= 1
        assert low < high


def test_versions_come_in_the_order_of_their_first_annotation_and_weeks_begin_on_monday() -> None:
    kept = {"OS": Edits(kept=1)}
    found = count_prelabels([one(6, "b", counts=kept), one(0, "c", counts=kept), one(7, "a", counts=kept)])
    assert [row.total.name for row in found.versions] == ["c", "b", "a"]
    assert [(row.name, row.texts) for row in found.weeks] == [("2026-11-16", 2), ("2026-11-23", 1)]


def test_the_share_is_of_the_regions_that_were_proposed() -> None:
    counts = {"OS": Edits(kept=3, moved=1, added=5), "SOFTWARE": Edits(removed=1, retyped=1)}
    (version,) = count_prelabels([one(counts=counts)]).versions
    assert version.total.kept_share == 3 / 6
    assert [(row.name, row.kept_share) for row in version.types] == [("OS", 3 / 4), ("SOFTWARE", 0.0)]


def test_where_nothing_was_proposed_there_is_no_share() -> None:
    (version,) = count_prelabels([one(counts={"OS": Edits(added=2)})]).versions
    assert (version.total.added, version.total.kept_share, version.total.low) == (2, None, None)


def test_a_text_without_a_region_on_either_side_is_a_text_all_the_same() -> None:
    (version,) = count_prelabels([one(counts={})]).versions
    assert (version.total.texts, version.total.documents, version.types) == (1, 1, ())


def test_an_unknown_pre_label_is_counted_as_unknown_alone() -> None:
    assert count_prelabels([one(counts=None), one(version=None)]) == Prelabels(unknown=2)


def test_regions_of_one_document_make_the_interval_no_narrower_than_the_document_does() -> None:
    alike = [(4, 4)] * 6 + [(0, 4)] * 4
    assert kept_interval(alike) == pytest.approx(kept_interval([(1, 1)] * 6 + [(0, 1)] * 4), abs=0.03)
    wide, narrow = kept_interval(alike), kept_interval([(1, 1)] * 24 + [(0, 1)] * 16)
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


@pytest.mark.parametrize("documents", [10, 40])
def test_the_interval_of_95_percent_holds_the_true_share_in_most_samples(documents: int) -> None:
    rng, true, held = random.Random(documents), 0.8, 0
    for _ in range(1000):
        parts = []
        for _ in range(documents):
            share, regions = rng.betavariate(true * 2, (1 - true) * 2), rng.randint(1, 6)
            parts.append((sum(rng.random() < share for _ in range(regions)), regions))
        low, high = kept_interval(parts)
        held += low <= true <= high
    assert held >= 910
