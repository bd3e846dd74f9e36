"""Is a poisoned source found, muted and undone? python -m scripts.bench.weak.poison [--seeds N] [--gold N ...]

A gazetteer that marks the most common words of the texts as entities joins the honest sources. Prints for each set of
texts and amount of gold, over seeds: strict micro-F1 of the aggregate on texts whose gold nobody saw, without the
poisoned source, with it, and after harmful sources were muted; how often the poisoned source was muted; and how many
honest sources were muted, with the poisoned source there / without it.

Sets: the example it_support with its own functions, NCBI Disease with the votes in `ncbi-disease-weak`, and
StackOverflow-5 (training split) with the functions in `stackoverflow`; the last two need LOOP_SHARED_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import mean, stdev

from loop.evaluation.scores import count
from loop.weak.worth import VoteSample, harmful
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.choosing import aggregate
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.apply import apply_functions
from weak_labeling.loading import text_sources
from weak_labeling.source import Vote

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("LOOP_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data")
COMMON_WORDS = 30
POISON = "common words"
_STACKOVERFLOW = ROOT / "scripts" / "bench" / "weak" / "stackoverflow" / "labeling_functions.py"


@dataclass(frozen=True)
class TextSet:
    """Texts with honest votes, and gold for all of them."""

    name: str
    labels: LabelSet
    texts: tuple[VotedText, ...]
    gold: dict[str, tuple[Span, ...]]


def main() -> None:
    """Read the arguments, run each set, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gold", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--texts", type=int, default=1500, help="of each set, at most")
    arguments = parser.parse_args()
    print(
        "| texts | gold | honest alone | with the poison | after muting | poison muted | honest muted, with / without |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for found in sets(arguments.texts):
        for documents in arguments.gold:
            runs = [run(found, documents, seed) for seed in range(arguments.seeds)]
            print(row(found, documents, runs), flush=True)


@dataclass(frozen=True)
class Run:
    """F1 (0..1) of the aggregate on untouched texts, and what was muted."""

    honest: float
    poisoned: float
    muted: float
    found: tuple[str, ...]
    falsely: tuple[str, ...]


def run(found: TextSet, documents: int, seed: int) -> Run:
    """One seed: which texts have gold, and which type the common words are marked as."""
    random = Random(seed)
    texts = list(found.texts)
    random.shuffle(texts)
    poisoned = poison(texts, random.choice(found.labels.types))
    clean, bad = sample(found, texts, documents), sample(found, poisoned, documents)
    honest = set(clean.sources())
    muted = tuple(harm.source for harm in harmful(bad, honest | {POISON}))
    falsely = tuple(harm.source for harm in harmful(clean, honest))
    f1 = [untouched_f1(found, one) for one in (clean, bad, bad.without(muted))]
    return Run(f1[0], f1[1], f1[2], muted, falsely)


def sample(found: TextSet, texts: Sequence[VotedText], documents: int) -> VoteSample:
    """The first texts with their gold, and the rest without."""
    labelled = tuple(texts[:documents])
    gold = {text.key: found.gold[str(text.key)] for text in labelled}
    return VoteSample(found.labels, labelled, tuple(text.key for text in labelled), gold, tuple(texts[documents:]))


def untouched_f1(found: TextSet, known: VoteSample) -> float:
    """Of the aggregate by the method that the gold speaks for, on the texts without gold."""
    done = aggregate((*known.labelled, *known.unlabelled), known.gold, known.labels)
    said = [answer.spans for answer in done.fitted(known.unlabelled)]
    return count([found.gold[str(text.key)] for text in known.unlabelled], said, known.labels).micro_f1()


def poison(texts: Sequence[VotedText], label: str) -> list[VotedText]:
    """The texts with the votes of a gazetteer of their most common words."""
    words = Counter(word for text in texts for word in re.findall(r"[a-z]{2,}", text.text.lower()))
    pattern = re.compile(rf"\b({'|'.join(word for word, _ in words.most_common(COMMON_WORDS))})\b", re.IGNORECASE)

    def votes(text: str) -> Iterator[Vote]:
        return (Vote(Span(*match.span(), label), POISON) for match in pattern.finditer(text))

    return [replace(text, votes=(*text.votes, *votes(text.text))) for text in texts]


def row(found: TextSet, documents: int, runs: Sequence[Run]) -> str:
    """A line of the table."""
    scores = " | ".join(spread([getattr(one, name) for one in runs]) for name in ("honest", "poisoned", "muted"))
    caught = sum(POISON in one.found for one in runs)
    lost = sum(len(set(one.found) - {POISON}) for one in runs)
    falsely = sum(len(one.falsely) for one in runs)
    sources = len({vote.source for text in found.texts for vote in text.votes}) * len(runs)
    return f"| {found.name} | {documents} | {scores} | {caught} of {len(runs)} | {lost} / {falsely} of {sources} |"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, in points."""
    return f"{100 * mean(values):.1f} ± {100 * stdev(values):.1f}" if len(values) > 1 else f"{100 * values[0]:.1f}"


def sets(most: int) -> Iterator[TextSet]:
    """The sets whose files are there."""
    example = ROOT / "examples" / "it_support"
    labels = ("SOFTWARE", "OS", "HARDWARE", "VERSION", "ERROR")
    yield by_functions("it_support", example / "gold.jsonl", example / "labeling_functions.py", labels, {}, most)
    if (path := SHARED / "ncbi-disease-weak" / "train.jsonl").is_file():
        records = records_of(path)[:most]
        texts = tuple(VotedText(one["id"], one["text"], tuple(imported(one["weak"]))) for one in records)
        types = sorted({span["label"] for one in records for span in one["spans"]})
        yield TextSet("NCBI Disease", LabelSet(tuple(types)), texts, gold_of(records, {}))
    if (path := SHARED / "stackoverflow-ner" / "train.jsonl").is_file() and _STACKOVERFLOW.is_file():
        from scripts.bench.stackoverflow import LABEL_MAP

        yield by_functions("StackOverflow-5", path, _STACKOVERFLOW, labels, LABEL_MAP, most)


def by_functions(
    name: str, path: Path, functions: Path, labels: tuple[str, ...], label_map: dict[str, str], most: int
) -> TextSet:
    """A labelled file, with the votes of labelling functions. Types that the map does not have are no entities."""
    records = records_of(path)[:most]
    for number, one in enumerate(records):
        one.setdefault("id", str(number))
    applied = apply_functions(
        text_sources(functions.parent, labels), [(one["id"], one["text"]) for one in records], labels
    )
    texts = tuple(VotedText(one["id"], one["text"], applied.votes[one["id"]]) for one in records)
    return TextSet(name, LabelSet(labels), texts, gold_of(records, label_map))


def records_of(path: Path) -> list[dict]:  # type: ignore[type-arg]  # JSON
    """The records of a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def gold_of(records: Sequence[dict], label_map: dict[str, str]) -> dict[str, tuple[Span, ...]]:  # type: ignore[type-arg]
    """The spans of each record by its id; with a map, those that it renames."""
    return {
        one["id"]: tuple(
            Span(span["start"], span["end"], label_map.get(span["label"], span["label"]))
            for span in one["spans"]
            if not label_map or span["label"] in label_map
        )
        for one in records
    }


def imported(weak: Sequence[dict]) -> Iterator[Vote]:  # type: ignore[type-arg]  # JSON
    """Votes as a record holds them."""
    return (Vote(Span(one["start"], one["end"], one["label"]), one["source"]) for one in weak)


if __name__ == "__main__":
    main()
