"""The loops: which texts are annotated in which round, which are held out, and which tell the truth.

A loop is drawn from the texts of one set by a seed. Its texts come in random order. A share of the documents is held
out, so that a round of annotations gives texts to learn from and texts to judge by. The truth is texts that nothing
learns from and nobody judges by. The first model learns from weak labels on the texts that are annotated later.

The example has labelling functions. The other sets have none: there the weak labels are the votes of a dictionary that
has a third of the names in the texts outside the truth and the holdout. A real project has such a list. The dictionary
misses names, and takes common words for names. In loops of 12 rounds, seeds 1 to 4, its votes have an F1 between 0.39
and 0.51 on the texts that are annotated.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ner.spans import Span, drop_overlaps, flat_spans
from scripts.bench.stackoverflow import LABEL_MAP, LABELS, SHARED
from scripts.build_example import EXAMPLE
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.apply import apply_functions
from weak_labeling.loading import text_sources
from weak_labeling.source import Vote

HELD_OUT = 0.2
TRUTH = 1_200

SWITCHED, CARELESS = "switched", "careless"
# The corrupted batches of a loop: every label of the batch of this round is switched, or most of its spans are missing.
CORRUPTED: Mapping[int, str] = {3: SWITCHED, 6: CARELESS}
_KEPT_BY_THE_CARELESS = 0.4
FIRST = "first"
Spans = tuple[Span, ...]
Lesson = tuple[str, Spans]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with its gold, the name of its document, and the votes of labelling functions."""

    id: str
    doc: str
    text: str
    spans: Spans
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopSet:
    """Where the texts come from. batch: annotations of a round, those held out among them. labels: gold label -> type.

    functions: the file of the labelling functions; None where a dictionary stands in.
    """

    name: str
    path: Path
    labels: Mapping[str, str]
    batch: int = 50
    functions: Path | None = None

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types, each once."""
        return tuple(dict.fromkeys(self.labels.values()))


def _same(*labels: str) -> dict[str, str]:
    return {label: label for label in labels}


SETS = {
    one.name: one
    for one in (
        LoopSet("stackoverflow", SHARED / "stackoverflow-ner" / "train.jsonl", LABEL_MAP),
        LoopSet(
            "wnut17",
            SHARED / "wnut17" / "train.jsonl",
            _same("person", "location", "group", "corporation", "product", "creative-work"),
        ),
        LoopSet(
            "cyner",
            SHARED / "cyner" / "train.jsonl",
            _same("Indicator", "System", "Malware", "Organization", "Vulnerability"),
        ),
        LoopSet("example", EXAMPLE / "gold.jsonl", _same(*LABELS), 30, EXAMPLE / "labeling_functions.py"),
    )
}


@dataclass(frozen=True, slots=True)
class Loop:
    """batches: the texts to learn from that each round adds, with their votes. held_out: those to judge by.

    truth: texts of which nothing is known to the loop.
    """

    source: LoopSet
    seed: int
    batches: tuple[tuple[Labelled, ...], ...]
    held_out: tuple[tuple[Labelled, ...], ...]
    truth: tuple[Labelled, ...]

    @property
    def name(self) -> str:
        """Of this loop's files."""
        return f"{self.source.name}-{self.seed}"

    def learned(self, number: int, corruption: str | None = None) -> list[Labelled]:
        """The texts to learn from in a round, from 1 on; the last batch corrupted where a corruption is named."""
        *before, last = self.batches[:number]
        return [*(item for batch in before for item in batch), *corrupted(last, corruption, self)]

    def judged(self) -> list[Labelled]:
        """All texts that are held out in the end, in the order of the rounds."""
        return [item for batch in self.held_out for item in batch]


@dataclass(frozen=True, slots=True)
class Candidate:
    """The first model (number 0), or the candidate of a round, the last batch of it corrupted where that is named."""

    number: int = 0
    corruption: str | None = None

    @property
    def name(self) -> str:
        """Of the candidate's file."""
        return named(self.number, self.corruption)

    def lessons(self, loop: Loop) -> list[Lesson]:
        """What the candidate learns from: gold; for the first model the majority of the votes, where there are any."""
        if self.number:
            return [(item.text, item.spans) for item in loop.learned(self.number, self.corruption)]
        voted = (item for item in loop.learned(len(loop.batches)) if item.votes)
        return [(item.text, majority_vote(item.votes, item.text)) for item in voted]


def named(number: int, corruption: str | None = None) -> str:
    """The name of the candidate of a round."""
    if not number:
        return FIRST
    return f"{number}-{corruption}" if corruption else str(number)


def candidates_of(rounds: Sequence[int]) -> list[Candidate]:
    """All candidates of a loop: the first model, those of the rounds, and the corrupted ones."""
    clean = [Candidate(), *(Candidate(number) for number in rounds)]
    return clean + [Candidate(number, corruption) for number, corruption in CORRUPTED.items() if number in rounds]


def draw_loop(source: LoopSet, seed: int, rounds: int, truth: int = TRUTH) -> Loop:
    """A loop of `rounds` rounds. Whole documents are held out, and no document of the truth is annotated.

    The truth is `truth` texts from half of the documents, or from all that the rounds leave where that is less. Raises
    ValueError where the texts do not suffice for the rounds.
    """
    rng = np.random.default_rng([seed, *source.name.encode()])
    texts = read_texts(source)
    order = [texts[at] for at in rng.permutation(len(texts))]
    needed = rounds * source.batch
    if needed >= len(order):
        raise ValueError(f"{source.name} has {len(order)} texts, too few for {rounds} rounds of {source.batch}")
    sizes = Counter(item.doc for item in order)
    told, room = set[str](), min(len(order) // 2, len(order) - needed)
    for doc in dict.fromkeys(item.doc for item in order):
        if sizes[doc] <= room:
            told.add(doc)
            room -= sizes[doc]
    rest = [item for item in order if item.doc not in told]
    used = rest[:needed]
    docs = list(dict.fromkeys(item.doc for item in used))
    held = {doc for doc, draw in zip(docs, rng.random(len(docs)), strict=True) if draw < HELD_OUT}
    kept, spare = ([item for item in part if item.doc not in held] for part in (used, rest[needed:]))
    voted = with_votes(kept, spare, source, rng)
    known = {item.id: item for item in voted}
    parts = [used[start : start + source.batch] for start in range(0, needed, source.batch)]
    return Loop(
        source,
        seed,
        tuple(tuple(known[item.id] for item in part if item.id in known) for part in parts),
        tuple(tuple(item for item in part if item.id not in known) for part in parts),
        tuple([item for item in order if item.doc in told][:truth]),
    )


def read_texts(source: LoopSet) -> list[Labelled]:
    """The texts of the set, each text once, with the spans of its types."""
    found: dict[str, Labelled] = {}
    for line in source.path.open(encoding="utf-8"):
        record = json.loads(line)
        spans = (Span(one["start"], one["end"], source.labels.get(one["label"], "")) for one in record["spans"])
        gold = flat_spans(record["text"], [span for span in spans if span.label])
        found.setdefault(
            record["text"], Labelled(record["id"], record.get("doc") or record["id"], record["text"], gold)
        )
    return list(found.values())


def with_votes(
    texts: Sequence[Labelled], spare: Sequence[Labelled], source: LoopSet, rng: np.random.Generator
) -> list[Labelled]:
    """The texts with the votes of the set's labelling functions, or of a dictionary of names in `texts` and `spare`."""
    if source.functions is not None:
        functions = text_sources(source.functions.parent, source.types)
        cast = apply_functions(functions, [(item.id, item.text) for item in texts], source.types).votes
        return [replace(item, votes=cast[item.id]) for item in texts]
    names = dictionary([*texts, *spare], rng)
    return [
        replace(item, votes=tuple(Vote(span, "dictionary") for span in look_up(item.text, names))) for item in texts
    ]


def dictionary(texts: Sequence[Labelled], rng: np.random.Generator) -> dict[str, str]:
    """A third of the names in the texts, in lower case, each with the type that it has most often."""
    types = defaultdict[str, Counter[str]](Counter)
    for item in texts:
        for span in item.spans:
            types[item.text[span.start : span.end].lower()][span.label] += 1
    names = [name for name in sorted(types) if len(name) > 1]
    return {name: types[name].most_common(1)[0][0] for name in names if rng.random() < 1 / 3}


def look_up(text: str, names: Mapping[str, str]) -> tuple[Span, ...]:
    """Where names of the dictionary stand in the text as whole words, the longest first; at most six words long."""
    words = [match.span() for match in re.finditer(r"\S+", text)]
    lower = text.lower() if len(text.lower()) == len(text) else text
    found = [
        Span(start, words[last][1], names[lower[start : words[last][1]]])
        for first, (start, _) in enumerate(words)
        for last in range(first, min(first + 6, len(words)))
        if lower[start : words[last][1]] in names
    ]
    return drop_overlaps(found)[0]


def corrupted(batch: Sequence[Labelled], corruption: str | None, loop: Loop) -> list[Labelled]:
    """The batch as a careless annotator leaves it.

    SWITCHED: each type is taken for the next one. CARELESS: six spans of ten are missing.
    """
    if corruption is None:
        return list(batch)
    types = loop.source.types
    if corruption == SWITCHED:
        following = dict(zip(types, (*types[1:], types[0]), strict=True))
        return [
            replace(item, spans=tuple(Span(span.start, span.end, following[span.label]) for span in item.spans))
            for item in batch
        ]
    rng = np.random.default_rng(loop.seed)
    return [
        replace(item, spans=tuple(span for span in item.spans if rng.random() < _KEPT_BY_THE_CARELESS))
        for item in batch
    ]
