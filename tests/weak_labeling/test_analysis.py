"""Coverage, overlap, conflict and accuracy, with values that can be counted by hand."""

from __future__ import annotations

import pytest

from ner.spans import Span
from weak_labeling.analysis import analyse
from weak_labeling.source import Vote

# Ten tokens: Windows 11 on my ThinkPad | no entity here , sorry
TEXTS = {1: "Windows 11 on my ThinkPad", 2: "no entity here, sorry"}
WINDOWS, ELEVEN, BOTH, THINKPAD = (0, 7), (8, 10), (0, 10), (17, 25)
VOTES = {
    1: (
        Vote(Span(*WINDOWS, "OS"), "systems"),
        Vote(Span(*BOTH, "SOFTWARE"), "programs"),
        Vote(Span(*THINKPAD, "HARDWARE"), "devices"),
        Vote(Span(*THINKPAD, "HARDWARE"), "brands"),
    ),
    2: (Vote(Span(0, 2, "HARDWARE"), "devices"),),
}
GOLD = {1: (Span(*WINDOWS, "OS"), Span(*ELEVEN, "VERSION"), Span(*THINKPAD, "HARDWARE"))}
NAMES = ("systems", "programs", "devices", "brands", "silent")


def column(name: str, *, gold: bool = True) -> dict[str, object]:
    reports = analyse(NAMES, TEXTS, VOTES, GOLD if gold else None)
    assert tuple(report.name for report in reports) == NAMES
    return {report.name: getattr(report, name) for report in reports}


def test_coverage_is_the_share_of_tokens_that_a_function_votes_on() -> None:
    expected = {"systems": 1 / 10, "programs": 2 / 10, "devices": 2 / 10, "brands": 1 / 10, "silent": 0}
    assert column("coverage") == expected


def test_overlap_is_the_share_on_which_another_votes_too() -> None:
    expected = {"systems": 1 / 10, "programs": 1 / 10, "devices": 1 / 10, "brands": 1 / 10, "silent": 0}
    assert column("overlap") == expected


def test_conflict_is_the_share_on_which_another_votes_for_another_label() -> None:
    expected = {"systems": 1 / 10, "programs": 1 / 10, "devices": 0, "brands": 0, "silent": 0}
    assert column("conflict") == expected


def test_accuracy_is_the_share_of_its_tokens_whose_gold_label_a_function_names() -> None:
    assert column("accuracy") == {"systems": 1, "programs": 0, "devices": 1 / 2, "brands": 1, "silent": None}


def test_precision_is_the_share_of_its_spans_that_are_gold_exactly() -> None:
    assert column("precision") == {"systems": 1, "programs": 0, "devices": 1 / 2, "brands": 1, "silent": None}


def test_a_span_with_a_wrong_border_is_accurate_by_token_and_not_precise() -> None:
    votes = {1: (Vote(Span(0, 25, "HARDWARE"), "all"),)}
    (report,) = analyse(["all"], TEXTS, votes, GOLD)
    assert report.accuracy == 1 / 5
    assert report.precision == 0


def test_a_vote_that_touches_a_token_without_sharing_a_character_does_not_cover_it() -> None:
    (report,) = analyse(["commas"], TEXTS, {2: (Vote(Span(14, 15, "OS"), "commas"),)})
    assert report.coverage == 1 / 10


def test_votes_and_documents_are_counted() -> None:
    assert column("votes") == {"systems": 1, "programs": 1, "devices": 2, "brands": 1, "silent": 0}
    assert column("documents") == {"systems": 1, "programs": 1, "devices": 2, "brands": 1, "silent": 0}


@pytest.mark.parametrize("name", ["accuracy", "precision"])
def test_without_gold_nothing_is_said_of_being_right(name: str) -> None:
    assert set(column(name, gold=False).values()) == {None}


def test_votes_of_functions_that_were_not_asked_about_do_not_count() -> None:
    (report,) = analyse(["systems"], TEXTS, VOTES, GOLD)
    assert report.overlap == report.conflict == 0


def test_no_texts_give_reports_of_zero() -> None:
    (report,) = analyse(["systems"], {}, {})
    assert (report.coverage, report.votes, report.accuracy) == (0, 0, None)
