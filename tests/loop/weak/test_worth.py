"""What a source is worth, and which sources do harm: told from noise, the worst first, and never a harmless one."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from loop.up.project import EXAMPLES
from loop.weak.worth import LEAST_DOCUMENTS, VoteSample, harmful, worth_of
from ner.labels import LabelSet
from ner.spans import Span
from scripts.bench.weak import poison as bench
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.apply import apply_functions
from weak_labeling.loading import text_sources
from weak_labeling.source import Vote

TEXT = "the Excel on the Windows"
EXCEL, WINDOWS, THE = Span(4, 9, "SOFTWARE"), Span(17, 24, "OS"), Span(0, 3, "OS")


def sample(documents: int, *votes: Vote, groups: int | None = None) -> VoteSample:
    """The same text and gold again and again, with these votes on each."""
    keys = range(documents)
    texts = tuple(VotedText(key, TEXT, votes) for key in keys)
    grouped = tuple(key % (groups or documents) for key in keys)
    return VoteSample(LabelSet(("SOFTWARE", "OS")), texts, grouped, dict.fromkeys(keys, (EXCEL, WINDOWS)))


HONEST = (Vote(EXCEL, "apps"), Vote(WINDOWS, "systems"))
POISON = Vote(THE, "poison")


def test_the_worth_of_a_source_is_the_f1_with_it_less_the_f1_without_it() -> None:
    voted = sample(30, *HONEST, POISON)
    worths = {one.source: one for one in worth_of(voted, ["apps", "poison"], "majority", voted.counts("majority"))}
    assert worths["apps"].with_f1 == pytest.approx(4 / 5)  # two of three spans are right, and all gold is found
    assert worths["apps"].without_f1 == pytest.approx(1 / 2)
    assert worths["poison"].gain == pytest.approx(4 / 5 - 1)
    assert worths["poison"].low == pytest.approx(worths["poison"].high)  # every document says the same


def test_a_source_that_does_harm_is_found_with_the_evidence() -> None:
    (harm,) = harmful(sample(LEAST_DOCUMENTS, *HONEST, POISON), {"apps", "systems", "poison"}, "majority")
    assert (harm.source, harm.votes, harm.right, harm.documents) == ("poison", LEAST_DOCUMENTS, 0, LEAST_DOCUMENTS)
    assert (harm.with_f1, harm.without_f1) == (pytest.approx(4 / 5), 1.0)
    assert harm.p_value <= 0.01 / 3
    assert "F1 1.000 instead of 0.800" in str(harm) and "0 of its 25 votes" in str(harm)


def test_little_gold_and_gold_of_few_documents_mute_nothing() -> None:
    everyone = {"apps", "systems", "poison"}
    assert harmful(sample(LEAST_DOCUMENTS - 1, *HONEST, POISON), everyone, "majority") == ()
    assert harmful(sample(200, *HONEST, POISON, groups=LEAST_DOCUMENTS - 1), everyone, "majority") == ()


def test_a_source_that_is_no_candidate_is_left_alone_and_two_that_do_harm_are_both_found() -> None:
    worse = Vote(Span(13, 16, "SOFTWARE"), "worse"), Vote(Span(10, 12, "OS"), "worse")
    both = sample(60, *HONEST, POISON, *worse)
    assert [harm.source for harm in harmful(both, {"poison", "worse"}, "majority")] == ["worse", "poison"]
    assert [harm.source for harm in harmful(both, {"poison"}, "majority")] == ["poison"]


def test_a_poison_is_muted_where_the_method_in_use_hardly_gains_by_it() -> None:
    """The method learns that the common words of the poison are no entities, and scores by chance a little better."""
    example = EXAMPLES / "it_support"
    gold = [json.loads(line) for line in (example / "gold.jsonl").read_text("utf-8").splitlines()]
    labelled = Random(0).sample(gold, 100)
    labels = LabelSet(("SOFTWARE", "OS", "HARDWARE", "VERSION", "ERROR"))
    applied = apply_functions(
        text_sources(example, labels.types), [(one["id"], one["text"]) for one in labelled], labels.types
    )
    texts = [VotedText(one["id"], one["text"], applied.votes[one["id"]]) for one in labelled]
    spans = {one["id"]: tuple(Span(**span) for span in one["spans"]) for one in labelled}
    found = VoteSample(labels, tuple(bench.poison(texts, "OS")), tuple(spans), spans)
    assert [harm.source for harm in harmful(found, set(found.sources()))] == [bench.POISON]


def test_a_source_that_says_something_of_use_by_the_wrong_name_is_kept() -> None:
    """By majority it does harm; the method learns what it means, and no other source knows these entities."""
    random, texts, gold = Random(1), [], {}
    for key in range(60):
        words = ["".join(random.choices("abcdefghij", k=6)) for _ in range(4)]
        text = " ".join(("Excel", *words))
        at = text.index(words[random.randrange(4)])
        named = Span(at, at + 6, "OS")
        votes = Vote(Span(0, 5, "SOFTWARE"), "apps"), Vote(replace(named, label="SOFTWARE"), "misnamed")
        texts.append(VotedText(key, text, votes))
        gold[key] = (Span(0, 5, "SOFTWARE"), named)
    found = VoteSample(LabelSet(("SOFTWARE", "OS")), tuple(texts), tuple(gold), gold)
    assert [harm.source for harm in harmful(found, {"misnamed"}, "majority")] == ["misnamed"]
    assert harmful(found, {"misnamed"}) == ()


def test_harmless_sources_that_are_wrong_by_chance_are_hardly_ever_muted() -> None:
    """Ten sources vote at random for one of two names, of which one is gold in half of the texts."""
    muted = 0
    for seed in range(20):
        random = Random(seed)
        base = sample(40, *HONEST)
        texts = tuple(
            replace(text, votes=(*text.votes, *(_at_random(random, number) for number in range(10))))
            for text in base.labelled
        )
        gold = {key: (EXCEL, WINDOWS) if random.random() < 0.5 else (WINDOWS,) for key in base.gold}
        muted += bool(harmful(replace(base, labelled=texts, gold=gold), {f"s{n}" for n in range(10)}, "majority"))
    assert muted <= 1


def _at_random(random: Random, number: int) -> Vote:
    return Vote(random.choice((EXCEL, WINDOWS)), f"s{number}")
