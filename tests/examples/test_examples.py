"""What holds for every example that ships; what is special to one stands in a module of its own."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from loop.settings.settings import Settings
from loop.up.project import make_from_example, name_of
from ner.label_studio.label_config import LabelConfig
from ner.spans import Span, drop_overlaps
from scripts.build_example import EXAMPLES, file_contents, read_messages, seen_sources
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.apply import AppliedFunctions, apply_functions
from weak_labeling.loading import text_sources

# The F1 that the votes reach at least: on texts that were read before the functions were written (seen.txt names their
# files), and on the others. The README of each example has the exact figures.
FLOORS = {
    ("helpline", "seen"): 0.80,
    ("helpline", "untouched"): 0.55,
    ("it_support", "untouched"): 0.55,
    ("kitchen", "untouched"): 0.50,
    ("maritime", "seen"): 0.85,
    ("maritime", "untouched"): 0.75,
    ("utility_specs", "seen"): 0.90,
    ("utility_specs", "untouched"): 0.85,
}
FOLDERS = tuple(sorted(path.parent for path in EXAMPLES.glob("*/kinds.txt")))
# A README that tells every type's counts belongs to an example that is large enough to train on.
LARGE = tuple(folder for folder in FOLDERS if folder.name != "kitchen")
Record = tuple[str, str, tuple[Span, ...]]

every_example = pytest.mark.parametrize("example", FOLDERS, ids=lambda path: path.name)
every_large_example = pytest.mark.parametrize("example", LARGE, ids=lambda path: path.name)


@cache
def gold_of(example: Path) -> tuple[Record, ...]:
    """(id, text, spans) of every line of gold.jsonl."""
    records = [json.loads(line) for line in (example / "gold.jsonl").read_text(encoding="utf-8").splitlines()]
    return tuple((record["id"], record["text"], tuple(Span(**span) for span in record["spans"])) for record in records)


@cache
def applied_to(example: Path) -> AppliedFunctions[str]:
    """The votes of an example's functions on its own texts."""
    sources = text_sources(example, labels_of(example))
    return apply_functions(sources, ((name, text) for name, text, _ in gold_of(example)), labels_of(example))


def labels_of(example: Path) -> tuple[str, ...]:
    """The types of an example's label config."""
    return LabelConfig.parse((example / "labels.xml").read_text(encoding="utf-8")).labels


@every_example
def test_the_shipped_files_are_what_the_sources_say(example: Path) -> None:
    for path, content in file_contents(example).items():
        assert path.read_text(encoding="utf-8") == content, f"run scripts/build_example.py: {path.name}"


@every_example
def test_tasks_are_the_gold_without_its_spans(example: Path) -> None:
    tasks = [json.loads(line) for line in (example / "tasks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert tasks == [{"id": name, "text": text} for name, text, _ in gold_of(example)]


@every_example
def test_every_text_has_its_own_id_and_every_kind_a_text(example: Path) -> None:
    messages = read_messages(example)
    assert len({message.id for message in messages}) == len(messages)
    assert {message.kind for message in messages} == set((example / "kinds.txt").read_text("utf-8").split())


@every_example
def test_spans_lie_in_their_text_do_not_overlap_and_have_no_blank_at_an_edge(example: Path) -> None:
    for name, text, spans in gold_of(example):
        assert drop_overlaps(spans)[1] == (), name
        for span in spans:
            surface = text[span.start : span.end]
            assert surface and surface == surface.strip() and span.end <= len(text), name


@every_example
def test_spans_begin_and_end_at_the_border_of_a_word(example: Path) -> None:
    for name, text, spans in gold_of(example):
        for span in spans:
            for border in (span.start, span.end):
                around = text[max(0, border - 1) : border + 1]
                assert not re.fullmatch(r"\w\w", around), f"{name}: {text[span.start : span.end]}"


@every_example
def test_no_two_texts_share_more_than_a_tenth_of_their_word_4_grams(example: Path) -> None:
    texts = {name: text.casefold().split() for name, text, _ in gold_of(example)}
    grams = {name: set(zip(*(words[n:] for n in range(4)), strict=False)) for name, words in texts.items()}
    holders: dict[tuple[str, ...], list[str]] = {}
    for name, own in grams.items():
        for gram in own:
            holders.setdefault(gram, []).append(name)
    shared = Counter(pair for names in holders.values() for pair in combinations(names, 2))
    for (one, other), count in shared.items():
        assert count <= 0.1 * len(grams[one] | grams[other]), f"{one} and {other} are near-duplicates"


@every_example
def test_short_texts_are_not_repeated_either(example: Path) -> None:
    words = Counter(" ".join(re.findall(r"\w+", text.casefold())) for _, text, _ in gold_of(example))
    assert max(words.values()) == 1


@every_example
def test_the_label_config_gives_each_type_its_own_key_and_colour(example: Path) -> None:
    xml = (example / "labels.xml").read_text(encoding="utf-8")
    types = len(labels_of(example))
    assert len(set(re.findall(r'hotkey="(\S)"', xml))) == types
    assert len(set(re.findall(r'background="(#\w{6})"', xml))) == types
    assert LabelConfig.parse(xml).data_field == "text"


@every_large_example
def test_the_readme_states_the_counts_of_the_files(example: Path) -> None:
    readme = (example / "README.md").read_text(encoding="utf-8")
    gold = gold_of(example)
    empty = sum(not spans for _, _, spans in gold)
    assert re.search(rf"\b{len(gold)} (messages|texts|conversations)\b", readme)
    assert re.search(rf"\b{empty} (messages|texts|conversations) \({round(100 * empty / len(gold))} %\)", readme)
    for label in labels_of(example):
        surfaces = [text[span.start : span.end] for _, text, spans in gold for span in spans if span.label == label]
        assert f"| {label} | {len(surfaces)} | {len(set(surfaces))} |" in readme


@every_example
def test_the_functions_run_on_every_text_without_a_failure(example: Path) -> None:
    assert applied_to(example).failures == ()


@every_example
def test_an_example_makes_a_project_with_its_sources_and_with_targets_for_types_that_it_has(
    example: Path, tmp_path: Path
) -> None:
    assert make_from_example(example, tmp_path, {}, environ={}, salt="s")
    settings = Settings.load(tmp_path, {})
    assert settings.project_name == name_of(example)
    assert set(settings.gates.types) <= set(labels_of(example))
    assert text_sources(tmp_path, labels_of(example))


@pytest.mark.parametrize(("name", "part"), FLOORS)
def test_the_votes_reach_the_f1_that_the_example_promises(name: str, part: str) -> None:
    example = EXAMPLES / name
    seen = {message.id for message in read_messages(example) if message.source in seen_sources(example)}
    untouched = {message.id for message in read_messages(example)} - seen
    assert f1_of_votes(example, seen if part == "seen" else untouched) >= FLOORS[name, part]


def test_harder_texts_hide_no_loss_on_the_earlier_untouched_ones_of_helpline() -> None:
    """From 10.txt on, the same words for people stand in either part, and the votes reach less."""
    messages = read_messages(EXAMPLES / "helpline")
    earlier = {message.id for message in messages if "04" <= message.source <= "09"}
    assert f1_of_votes(EXAMPLES / "helpline", earlier) >= 0.65


def test_every_example_promises_an_f1_on_untouched_texts_where_it_has_any() -> None:
    with_untouched = {
        folder.name
        for folder in FOLDERS
        if {message.source for message in read_messages(folder)} - set(seen_sources(folder))
    }
    assert {name for name, part in FLOORS if part == "untouched"} == with_untouched
    assert {name for name, _ in FLOORS} == {folder.name for folder in FOLDERS}


def f1_of_votes(example: Path, names: Collection[str]) -> float:
    """Strict micro-F1 of the majority vote on the texts of these ids."""
    votes = applied_to(example).votes
    right = voted = wanted = 0
    for name, text, spans in gold_of(example):
        if name in names:
            predicted = majority_vote(votes[name], text)
            right += len(set(predicted) & set(spans))
            voted += len(predicted)
            wanted += len(spans)
    return 2 * right / (voted + wanted)
