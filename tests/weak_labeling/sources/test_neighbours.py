"""Kind "neighbours": a name that got votes elsewhere in its document."""

from __future__ import annotations

from ner.spans import Span
from weak_labeling.source import Vote
from weak_labeling.sources.neighbours import NeighboursSource

TEXTS = ("Orion sails.", "The Orion, orion, Orions", "We saw ORION")


def vote(start: int, end: int, label: str = "VESSEL", source: str = "list") -> Vote:
    return Vote(Span(start, end, label), source)


def test_a_name_with_enough_votes_elsewhere_votes_wherever_it_stands() -> None:
    votes = [[vote(0, 5)], [vote(4, 9)], []]
    found = NeighboursSource("it", votes=2).find_beside(TEXTS, votes)
    assert found == [[], [Span(11, 16, "VESSEL")], [Span(7, 12, "VESSEL")]]


def test_the_votes_at_a_place_itself_do_not_count_for_it() -> None:
    votes = [[vote(0, 5), vote(0, 5, source="shape")], [], []]
    found = NeighboursSource("it", votes=2).find_beside(TEXTS, votes)
    assert found == [[], [Span(4, 9, "VESSEL"), Span(11, 16, "VESSEL")], [Span(7, 12, "VESSEL")]]


def test_the_label_with_most_votes_counts_and_a_draw_abstains() -> None:
    draw = [[vote(0, 5), vote(0, 5, "PORT", "ports")], [], []]
    assert NeighboursSource("it", votes=1).find_beside(TEXTS, draw) == [[], [], []]
    most = [[*draw[0], vote(0, 5, "PORT", "more ports")], [], []]
    assert NeighboursSource("it", votes=1).find_beside(TEXTS, most)[2] == [Span(7, 12, "PORT")]


def test_other_labels_and_short_names_are_left_alone() -> None:
    votes = [[vote(0, 5, "PORT"), vote(0, 5, "PORT", "other")], [], []]
    assert NeighboursSource("it", labels=("VESSEL",)).find_beside(TEXTS, votes) == [[], [], []]
    assert NeighboursSource("it", shortest=6).find_beside(TEXTS, votes) == [[], [], []]


def test_an_acronym_is_itself_only_as_it_is_written() -> None:
    votes = [[vote(0, 3), vote(0, 3, source="other")], []]
    assert NeighboursSource("it").find_beside(("WHO came", "who WHO"), votes)[1] == [Span(4, 7, "VESSEL")]
    assert NeighboursSource("it", case="ignore").find_beside(("WHO came", "who"), votes)[1] == [Span(0, 3, "VESSEL")]


def test_the_digest_follows_the_keys() -> None:
    assert len({NeighboursSource("it", votes=k).digest for k in (1, 2, 2)}) == 2
