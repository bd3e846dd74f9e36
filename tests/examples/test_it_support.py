"""The example that opens by default: what its README promises beyond what holds for every example."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from ner.errors import InputError
from ner.spans import Span
from scripts.build_example import EXAMPLE, read_messages, unmark
from tests.examples.test_examples import Record, f1_of_votes, gold_of, labels_of
from weak_labeling.gazetteers import load_terms
from weak_labeling.loading import text_sources

LABELS = ("SOFTWARE", "OS", "HARDWARE", "VERSION", "ERROR")
Gold = tuple[Record, ...]


@pytest.fixture(scope="module")
def gold() -> Gold:
    """(id, text, spans) of every line of gold.jsonl."""
    return gold_of(EXAMPLE)


def test_there_are_at_least_440_messages(gold: Gold) -> None:
    assert len(gold) >= 440


def test_every_type_has_at_least_sixty_spans_and_no_span_another_type(gold: Gold) -> None:
    counts = Counter(span.label for _, _, spans in gold for span in spans)
    assert set(counts) == set(LABELS)
    assert min(counts.values()) >= 60


def test_between_25_and_30_percent_of_the_messages_have_no_entity(gold: Gold) -> None:
    assert 0.25 <= sum(not spans for _, _, spans in gold) / len(gold) <= 0.30


def test_messages_are_of_every_kind_and_length(gold: Gold) -> None:
    kinds = Counter(message.kind for message in read_messages())
    assert set(kinds) == {"ticket", "chat", "mail", "forum", "voicemail", "log", "note"}
    lengths = [len(text.split()) for _, text, _ in gold]
    assert min(lengths) < 10 and sum(length >= 140 for length in lengths) >= 4
    assert sum("\n" in text for _, text, _ in gold) >= 60


def test_mail_and_network_addresses_are_from_the_ranges_kept_for_documentation(gold: Gold) -> None:
    text = "\n".join(text for _, text, _ in gold)
    assert not re.findall(r"[\w.]+@[\w-]+\.[a-z]{2,}", text)  # no mail address at all
    for address in re.findall(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?=[\]:])", text):
        assert address.startswith(("10.", "192.168.", "192.0.2.", "198.51.100.", "203.0.113.")), address
    for host in re.findall(r"https?://([\w.-]+)", text):
        assert host.endswith(("example.com", "example.org", "example.net")), host


def test_the_labelling_config_offers_the_five_types() -> None:
    assert labels_of(EXAMPLE) == LABELS


def test_there_are_between_eight_and_fourteen_sources_of_more_than_one_kind() -> None:
    sources = text_sources(EXAMPLE, LABELS)
    assert 8 <= len(sources) <= 14
    assert {source.kind for source in sources} == {"function", "gazetteer", "pattern"}


def test_the_majority_vote_leaves_something_to_learn(gold: Gold) -> None:
    assert f1_of_votes(EXAMPLE, {name for name, _, _ in gold}) <= 0.80


def test_the_lists_are_general_knowledge_and_not_the_gold_by_heart(gold: Gold) -> None:
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
