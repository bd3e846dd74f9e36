"""Imperfect sources of weak labels, made of labelled texts that are then not used for anything else.

They stand for what people write: dictionaries with gaps and wrong entries, shapes, words that go before, endings, and
taggers that learned from another, small set. Each is honest: a rule that any list of examples would have given.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ner.spans import Span

Find = Callable[[str], Iterable[Span]]
WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Example:
    """A labelled text that sources may be made of."""

    text: str
    spans: tuple[Span, ...]


def made_of(
    examples: Sequence[Example], known: Sequence[Example], patterns: Mapping[str, tuple[str, str]]
) -> dict[str, Find]:
    """name -> source. known: where the names in dictionaries come from. patterns: name -> (label, pattern), by hand."""
    surfaces = _surfaces(known)
    made = {
        "dictionary-exact": _dictionary(_some(surfaces, 0.5, seed=1), str),
        "dictionary-lower": _dictionary(_some(surfaces, 0.4, seed=2), str.lower),
        "dictionary-frequent": _dictionary({s: c for s, c in _surfaces(examples).items() if sum(c.values()) > 1}, str),
        "heads": _dictionary(_some(_heads(surfaces), 0.6, seed=3), str.lower),
        "endings": _endings(examples),
        "capitals": _capitals(examples),
    }
    labels = sorted({span.label for example in examples for span in example.spans})
    for number, label in enumerate(labels):
        of_label = {s: c for s, c in surfaces.items() if c[label]}
        made[f"list-{label}"] = _dictionary(
            {s: Counter({label: 1}) for s in _some(of_label, 0.35, seed=10 + number)}, str.lower
        )
        made[f"before-{label}"] = _after_words(examples, label)
    for name, (label, pattern) in patterns.items():
        made[name] = _pattern(re.compile(pattern), label)
    return made


def _surfaces(examples: Sequence[Example]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        for span in example.spans:
            found[example.text[span.start : span.end]][span.label] += 1
    return found


def _some(surfaces: Mapping[str, Counter[str]], share: float, seed: int) -> dict[str, Counter[str]]:
    draw = random.Random(seed)
    return {surface: labels for surface, labels in sorted(surfaces.items()) if draw.random() < share}


def _heads(surfaces: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    heads: dict[str, Counter[str]] = defaultdict(Counter)
    for surface, labels in surfaces.items():
        heads[surface.split()[-1]].update(labels)
    return {head: labels for head, labels in heads.items() if len(head) > 2}


def _dictionary(surfaces: Mapping[str, Counter[str]], fold: Callable[[str], str]) -> Find:
    """The longest entry at each word, case folded or not; the entry's most frequent label."""
    entries: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for surface, labels in surfaces.items():
        if len(surface) > 1:
            entries[tuple(fold(surface).split())].update(labels)
    labels_of = {entry: max(sorted(labels), key=labels.__getitem__) for entry, labels in entries.items()}
    longest = max(map(len, entries), default=1)

    def find(text: str) -> Iterator[Span]:
        words = [match.span() for match in WORD.finditer(text)]
        folded = [fold(text[start:end]) for start, end in words]
        at = 0
        while at < len(words):
            for size in range(min(longest, len(words) - at), 0, -1):
                label = labels_of.get(tuple(folded[at : at + size]))
                if label:
                    yield Span(words[at][0], words[at + size - 1][1], label)
                    break
            else:
                size = 1
            at += size

    return find


def _word_labels(example: Example) -> list[tuple[str, int, int, str]]:
    return [
        (m.group(), *m.span(), next((s.label for s in example.spans if s.start < m.end() and m.start() < s.end), "O"))
        for m in WORD.finditer(example.text)
    ]


def _endings(examples: Sequence[Example]) -> Find:
    """Words that end in four letters of which at least 60 % stand for one label in the examples."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        for word, _, _, label in _word_labels(example):
            if len(word) > 5:
                counts[word[-4:].lower()][label] += 1
    label_of = {}
    for ending, labels in counts.items():
        label, times = max(labels.items(), key=lambda item: (item[1], item[0]))
        if label != "O" and times >= 3 and times >= 0.6 * sum(labels.values()):
            label_of[ending] = label

    def find(text: str) -> Iterator[Span]:
        for match in WORD.finditer(text):
            label = label_of.get(match.group()[-4:].lower()) if len(match.group()) > 5 else None
            if label:
                yield Span(*match.span(), label)

    return find


def _capitals(examples: Sequence[Example]) -> Find:
    """Runs of two capitalised words or more get the label that such runs most often have in the examples."""
    pattern = re.compile(r"[A-Z][\w-]*(?: [A-Z][\w-]*)+")
    counts: Counter[str] = Counter()
    for example in examples:
        runs = {match.span() for match in pattern.finditer(example.text)}
        counts.update(span.label for span in example.spans if (span.start, span.end) in runs)
    return _pattern(pattern, max(sorted(counts), key=counts.__getitem__))


def _after_words(examples: Sequence[Example], label: str) -> Find:
    """One word, or a run of capitalised words, after a word that precedes the label at least every second time."""
    before, times = Counter[str](), Counter[str]()
    for example in examples:
        words = _word_labels(example)
        for (word, *_), (_, start, _, _) in pairwise(words):
            times[word.lower()] += 1
            before[word.lower()] += any(span.start == start and span.label == label for span in example.spans)
    good = {word for word, count in before.items() if count >= 3 and count >= times[word] / 2}

    def find(text: str) -> Iterator[Span]:
        for match in re.finditer(r"(\S+) ((?:[A-Z][\w-]*(?: [A-Z][\w-]*)*)|\w+)", text):
            if match.group(1).lower() in good:
                yield Span(*match.span(2), label)

    return find


def _pattern(pattern: re.Pattern[str], label: str) -> Find:
    def find(text: str) -> Iterator[Span]:
        group = 1 if pattern.groups else 0
        for match in pattern.finditer(text):
            if match.start(group) < match.end(group):
                yield Span(*match.span(group), label)

    return find
