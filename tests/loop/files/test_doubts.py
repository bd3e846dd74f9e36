"""What people are told about texts in doubt."""

from __future__ import annotations

import pytest

from loop.files.doubts import doubts_sentence, map_line, mend, nearest
from ner.label_studio.results import OUTSIDE_CONFIG, OUTSIDE_TEXT, SEVERAL_LABELS
from store.counts import Doubts

LABELS = ("PER", "ORG", "LOC")


def test_the_sentence_tells_how_many_texts_and_for_what() -> None:
    found = Doubts(12, {OUTSIDE_CONFIG: 9, OUTSIDE_TEXT: 3}, {"Person": 9})
    assert doubts_sentence(found, LABELS) == (
        '12 labelled texts are in doubt and are not learned from: label "Person" (9), span outside the text (3).'
    )
    assert doubts_sentence(Doubts(1, {OUTSIDE_TEXT: 1}), LABELS) == (
        "1 labelled text is in doubt and is not learned from: span outside the text (1)."
    )


def test_what_to_do_begins_with_the_line_of_the_map_where_a_label_is_at_fault() -> None:
    assert mend(Doubts(1, {OUTSIDE_CONFIG: 1}, {"Person": 1}), LABELS).startswith('[label_map] "Person" = "PER" in')
    assert "label_map" not in mend(Doubts(1, {OUTSIDE_TEXT: 1}), LABELS)


def test_labels_of_the_project_on_one_region_are_no_labels_to_map() -> None:
    found = Doubts(1, {SEVERAL_LABELS: 1}, {"PER": 1, "ORG": 1})
    assert doubts_sentence(found, LABELS).endswith("several labels on a region (1).")
    assert "label_map" not in mend(found, LABELS)


def test_many_labels_are_cut_short_and_counted() -> None:
    many = {f"Kind {n:02}": 1 for n in range(40)}
    found = Doubts(40, {OUTSIDE_CONFIG: 40}, many)
    assert '"Kind 04" (1), 35 further labels.' in doubts_sentence(found, LABELS)
    assert map_line(many, LABELS).endswith('"Kind 04" = "...", ...')


def test_names_are_written_as_toml_reads_them() -> None:
    assert map_line(['a"b'], LABELS) == '[label_map] "a\\"b" = "..."'


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("per", "PER"),
        ("Person", "PER"),
        ("LOCATION", "LOC"),
        ("Orgs", "ORG"),
        ("O", "O"),
        ("GPE", None),
        ("PERCENT", None),
        ("Thing", None),
        ("", None),
    ],
)
def test_the_label_that_looks_most_like_it_is_proposed(label: str, expected: str | None) -> None:
    assert nearest(label, LABELS) == expected
