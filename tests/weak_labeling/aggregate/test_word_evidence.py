"""What votes on other texts say of words on which no source votes."""

from __future__ import annotations

import numpy as np

from ner.arrays import FloatArray
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.table import VoteTable, vote_table
from weak_labeling.aggregate.word_evidence import WordEvidence, word_evidence
from weak_labeling.aggregate.word_features import word_features
from weak_labeling.source import Vote

LABELS = LabelSet(("DISEASE", "DRUG"))
VOTED = ("fibrosis", "necrosis", "stenosis", "sclerosis", "thrombosis", "psychosis")


def case(name: str, label: str | None) -> VotedText:
    text = f"we saw {name} in them"
    votes = (Vote(Span(7, 7 + len(name), label), "list"),) if label else ()
    return VotedText(name, text, votes)


def table_of(texts: list[VotedText]) -> VoteTable:
    return vote_table(texts, ("list",), LABELS)


def learned(texts: list[VotedText]) -> WordEvidence:
    table = table_of(texts)
    classes = np.zeros(table.words, dtype=np.int64)
    classes[table.word] = (table.tag - 1) // 2 + 1
    return word_evidence(texts, table, classes, len(LABELS.types))


def odds_in(evidence: WordEvidence, text: VotedText) -> FloatArray:
    """(words, types)"""
    table = table_of([text])
    return evidence([text], table, word_features(table))


def odds_of(evidence: WordEvidence, name: str) -> list[float]:
    """Of the name, for both types."""
    return odds_in(evidence, case(name, None))[2].tolist()


def test_a_name_without_a_vote_is_thought_of_as_voted_names_that_end_alike() -> None:
    texts = [case(name, "DISEASE") for name in VOTED] + [case(f"plain{number}", None) for number in range(12)]
    evidence = learned(texts)
    (disease, drug), (plain, _) = odds_of(evidence, "nephrosis"), odds_of(evidence, "plainly")
    assert disease > plain + 1
    assert disease > drug + 1


def test_a_text_is_judged_by_what_was_not_learned_from_it() -> None:
    """ "Qx" is voted on in one text, often: elsewhere this counts, but not in the text itself."""
    votes = [Vote(Span(start, start + 2, "DRUG"), "list") for start in (0, 6, 12, 18)]
    once = VotedText("once", "Qx of Qx of Qx of Qx", tuple(votes))
    evidence = learned([once, *(case(f"plain{number}", None) for number in range(12))])
    within = odds_in(evidence, once)[0, 1]
    others = [VotedText(number, f"Qx {'so ' * number}", ()) for number in range(8)]
    elsewhere = [odds_in(evidence, other)[0, 1] for other in others]
    assert max(elsewhere) > within + 1


def test_texts_without_words_teach_nothing() -> None:
    empty = VotedText(0, " ", ())
    assert odds_in(learned([empty]), empty).shape == (0, 2)
