"""The example that ships: what its README promises of its files."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.spans import Span, drop_overlaps
from scripts.build_example import EXAMPLE, EXAMPLES, file_contents, read_messages, unmark
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.apply import apply_functions
from weak_labeling.functions import load_functions
from weak_labeling.gazetteers import load_terms

LABELS = ("SOFTWARE", "OS", "HARDWARE", "VERSION", "ERROR")
Record = tuple[str, str, tuple[Span, ...]]


@pytest.fixture(scope="module")
def gold() -> list[Record]:
    """(id, text, spans) of every line of gold.jsonl."""
    records = [json.loads(line) for line in (EXAMPLE / "gold.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(record["id"], record["text"], tuple(Span(**span) for span in record["spans"])) for record in records]


@pytest.mark.parametrize("example", [path.parent for path in EXAMPLES.glob("*/name.txt")], ids=lambda path: path.name)
def test_the_shipped_files_are_what_the_sources_say(example: Path) -> None:
    for path, content in file_contents(example).items():
        assert path.read_text(encoding="utf-8") == content, f"run scripts/build_example.py: {path.name}"


def test_tasks_are_the_gold_without_its_spans(gold: list[Record]) -> None:
    tasks = [json.loads(line) for line in (EXAMPLE / "tasks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert tasks == [{"id": name, "text": text} for name, text, _ in gold]


def test_there_are_at_least_440_messages_with_distinct_ids(gold: list[Record]) -> None:
    assert len(gold) >= 440
    assert len({name for name, _, _ in gold}) == len(gold)


def test_every_type_has_at_least_sixty_spans_and_no_span_another_type(gold: list[Record]) -> None:
    counts = Counter(span.label for _, _, spans in gold for span in spans)
    assert set(counts) == set(LABELS)
    assert min(counts.values()) >= 60


def test_between_25_and_30_percent_of_the_messages_have_no_entity(gold: list[Record]) -> None:
    assert 0.25 <= sum(not spans for _, _, spans in gold) / len(gold) <= 0.30


def test_spans_lie_in_their_text_do_not_overlap_and_have_no_blank_at_an_edge(gold: list[Record]) -> None:
    for name, text, spans in gold:
        assert drop_overlaps(spans)[1] == (), name
        for span in spans:
            surface = text[span.start : span.end]
            assert surface and surface == surface.strip() and span.end <= len(text), name


def test_spans_begin_and_end_at_the_border_of_a_word(gold: list[Record]) -> None:
    for name, text, spans in gold:
        for span in spans:
            for border in (span.start, span.end):
                around = text[max(0, border - 1) : border + 1]
                assert not re.fullmatch(r"\w\w", around), f"{name}: {text[span.start : span.end]}"


def test_no_two_messages_share_more_than_a_tenth_of_their_word_4_grams(gold: list[Record]) -> None:
    grams = {name: set(zip(*(text.casefold().split()[n:] for n in range(4)), strict=False)) for name, text, _ in gold}
    holders: dict[tuple[str, ...], list[str]] = {}
    for name, own in grams.items():
        for gram in own:
            holders.setdefault(gram, []).append(name)
    shared = Counter(pair for names in holders.values() for pair in combinations(names, 2))
    for (one, other), count in shared.items():
        assert count <= 0.1 * len(grams[one] | grams[other]), f"{one} and {other} are near-duplicates"


def test_short_messages_are_not_repeated_either(gold: list[Record]) -> None:
    words = Counter(" ".join(re.findall(r"\w+", text.casefold())) for _, text, _ in gold)
    assert max(words.values()) == 1


def test_messages_are_of_every_kind_and_length(gold: list[Record]) -> None:
    kinds = Counter(message.kind for message in read_messages())
    assert set(kinds) == {"ticket", "chat", "mail", "forum", "voicemail", "log", "note"}
    lengths = [len(text.split()) for _, text, _ in gold]
    assert min(lengths) < 10 and sum(length >= 140 for length in lengths) >= 4
    assert sum("\n" in text for _, text, _ in gold) >= 60


def test_mail_and_network_addresses_are_from_the_ranges_kept_for_documentation(gold: list[Record]) -> None:
    text = "\n".join(text for _, text, _ in gold)
    assert not re.findall(r"[\w.]+@[\w-]+\.[a-z]{2,}", text)  # no mail address at all
    for address in re.findall(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?=[\]:])", text):
        assert address.startswith(("10.", "192.168.", "192.0.2.", "198.51.100.", "203.0.113.")), address
    for host in re.findall(r"https?://([\w.-]+)", text):
        assert host.endswith(("example.com", "example.org", "example.net")), host


def test_the_readme_states_the_counts_of_the_files(gold: list[Record]) -> None:
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    empty = sum(not spans for _, _, spans in gold)
    assert f"{len(gold)} messages" in readme
    assert f"{empty} messages ({empty / len(gold):.0%})".replace("%)", " %)") in readme
    surfaces = {
        label: [t[s.start : s.end] for _, t, spans in gold for s in spans if s.label == label] for label in LABELS
    }
    for label, found in surfaces.items():
        assert f"| {label} | {len(found)} | {len(set(found))} |" in readme


def test_the_labelling_config_offers_the_five_types_each_with_its_key_and_colour() -> None:
    xml = (EXAMPLE / "labels.xml").read_text(encoding="utf-8")
    config = LabelConfig.parse(xml)
    assert config.labels == LABELS
    assert config.data_field == "text"
    assert len(set(re.findall(r'hotkey="(\d)"', xml))) == len(set(re.findall(r'background="(#\w{6})"', xml))) == 5


def test_between_eight_and_fourteen_functions_run_on_every_message_without_a_failure(gold: list[Record]) -> None:
    functions = load_functions(EXAMPLE / "labeling_functions.py")
    assert 8 <= len(functions) <= 14
    applied = apply_functions(functions, ((name, text) for name, text, _ in gold), LABELS)
    assert applied.failures == ()


def test_the_majority_vote_finds_more_than_half_of_what_it_must_and_errs_less_than_it_finds(gold: list[Record]) -> None:
    functions = load_functions(EXAMPLE / "labeling_functions.py")
    applied = apply_functions(functions, ((name, text) for name, text, _ in gold), LABELS)
    right = voted = wanted = 0
    for name, text, spans in gold:
        predicted = majority_vote(applied.votes[name], text)
        right += len(set(predicted) & set(spans))
        voted += len(predicted)
        wanted += len(spans)
    assert 0.55 <= 2 * right / (voted + wanted) <= 0.80


def test_the_lists_are_general_knowledge_and_not_the_gold_by_heart(gold: list[Record]) -> None:
    lists = ("software.txt", "software_common_words.txt", "os.txt", "hardware.txt")
    terms = {term.casefold() for name in lists for term in load_terms(EXAMPLE / "gazetteers" / name)}
    surfaces = {text[span.start : span.end].casefold() for _, text, spans in gold for span in spans}
    assert len(terms & surfaces) < 0.5 * len(terms)
    assert len(terms & surfaces) < 0.5 * len(surfaces)


def test_marks_become_offsets_in_code_points() -> None:
    assert unmark("🙈 [[Łupin|SOFTWARE]] [[2.0|VERSION]]!", LABELS) == (
        "🙈 Łupin 2.0!",
        (Span(2, 7, "SOFTWARE"), Span(8, 11, "VERSION")),
    )
    assert unmark("[[9701234|IMO_NUMBER]]", ("IMO_NUMBER",)) == ("9701234", (Span(0, 7, "IMO_NUMBER"),))


@pytest.mark.parametrize(
    "marked", ["[[Word|PROGRAM]]", "[[Word |SOFTWARE]]", "[[Word|SOFTWARE] opens", "Word]] opens", " "]
)
def test_a_wrong_mark_is_refused(marked: str) -> None:
    with pytest.raises(InputError):
        unmark(marked, LABELS)


@pytest.mark.parametrize("source", ["text before a header\n=== chat\nhi", "=== telegram\nstop"])
def test_a_wrong_header_is_refused(source: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "01.txt").write_text(source, encoding="utf-8")
    for name in ("labels.xml", "kinds.txt"):
        (tmp_path / name).write_bytes((EXAMPLE / name).read_bytes())
    with pytest.raises(InputError):
        read_messages(tmp_path)
