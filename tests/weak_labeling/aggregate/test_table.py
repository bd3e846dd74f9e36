"""The votes of many texts as arrays."""

from __future__ import annotations

import numpy as np

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.table import vote_table
from weak_labeling.source import Vote

# Words: Go to St . Petersburg now . Then rest . | Yes . No
TEXTS = (
    VotedText(1, "Go to St. Petersburg now. Then rest.", (Vote(Span(6, 20, "PLACE"), "places"),)),
    VotedText(2, "Yes. No", ()),
)


def test_a_chain_begins_at_a_text_and_behind_a_sentence_and_never_in_a_vote() -> None:
    table = vote_table(TEXTS, ("places",), LabelSet(("PLACE",)))
    assert table.starts.tolist() == [0, 10, 13]
    assert table.chains().tolist() == [0, 7, 10, 12, 13]


def test_no_chain_begins_inside_a_gold_span() -> None:
    table = vote_table(TEXTS, ("places",), LabelSet(("PLACE",)))
    assert table.chains(np.array([7])).tolist() == [0, 10, 12, 13]
