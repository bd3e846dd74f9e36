"""Gold with and without weak labels: python -m scripts.bench.weak.training RESULTS.jsonl [--fast]

StackOverflow-5 with the labelling functions of scripts/bench/weak/stackoverflow, which were written after a reading of
the training sentences alone. Draws 50, 100, 250 and 500 gold sentences; 4,000 other sentences are the pool of the
functions. For each draw, gold alone is learned from, and weak labels before gold; and `weak_choice` chooses as in a
retrain, without a look at dev. The models in torch are scored on 600 sentences of dev, the same for all. A draw depends
on the seed alone, and a smaller draw is the beginning of a larger one.

Each draw adds a line to RESULTS.jsonl, and the script passes over what stands there: it can be stopped and started
again. --fast trains with 12 passes in place of 20, both ways. Two processes with --threads 1 and a file each, one with
--seeds 1 and one with --seeds 2 3, are faster than one process on two cores; `cat` their files for the table.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from loop.settings.model import TrainSettings, WeakSettings
from loop.training.dataset import Dataset, TrainingDocument, WeakDocument
from loop.training.dev_split import torch_reader
from loop.training.encoded import encode_data
from loop.training.encoder import load_base
from loop.training.progress import TrainingProgress
from loop.training.start import start_from_encoder
from loop.training.trainer import reproducible
from loop.training.weak_choice import choose
from loop.training.weak_first import learn
from ner.documents import content_hash
from ner.labels import LabelSet
from ner.spans import Span
from scripts.bench_recipe import drawn, lines, records
from store.registry import GOLD
from weak_labeling.aggregate.choosing import aggregate
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.apply import apply_functions
from weak_labeling.functions import load_functions

SET = "stackoverflow-ner"
LABELS = LabelSet(("ERROR", "HARDWARE", "OS", "SOFTWARE", "VERSION"))
FUNCTIONS = Path(__file__).parent / "stackoverflow" / "labeling_functions.py"
SIZES, SEEDS = (50, 100, 250, 500), (1, 2, 3)
POOL, DEV, FAST_PASSES = 4000, 600, 12
WAYS = ("gold", "weak", "chosen")


def main() -> None:
    """Read the arguments, run what is not in the file yet, print."""
    print_table(run_draws(__doc__, SIZES, compared))


def run_draws(
    about: str | None, sizes: Sequence[int], measure: Callable[[int, int, TrainSettings], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Read the arguments, measure each draw (seed, size) that the file of results lacks, and give all its lines."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--sizes", nargs="*", type=int, default=sizes)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    done = {(line["size"], line["seed"]) for line in lines(given.results)}
    for seed, size in product(given.seeds, given.sizes):
        if (size, seed) not in done:
            settings = TrainSettings(seed=seed, threads=given.threads)
            line = measure(seed, size, settings.changed(passes=FAST_PASSES) if given.fast else settings)
            with given.results.open("a") as file:
                file.write(json.dumps({"size": size, "seed": seed, "fast": given.fast, **line}) + "\n")
    return lines(given.results)


class Project:
    """A draw of gold, the votes on the pool and on the gold, and what both say together."""

    def __init__(self, seed: int, size: int) -> None:
        sentences = drawn(SET, max(SIZES) + POOL, seed)
        self.gold = documents(sentences[:size], 0)
        pool = {size + n: one["text"] for n, one in enumerate(sentences[max(SIZES) :])}
        texts = {one.document_id: one.text for one in self.gold} | pool
        votes = apply_functions(load_functions(FUNCTIONS), texts.items(), LABELS.types).votes
        self.texts = [VotedText(key, texts[key], given) for key, given in votes.items()]

    def weak(self, without: frozenset[int]) -> Sequence[WeakDocument]:
        """The weak labels, made without the gold of these documents."""
        gold = {one.document_id: one.spans for one in self.gold if one.document_id not in without}
        spoken = [voted for voted in self.texts if voted.votes]
        answers = aggregate(spoken, gold, LABELS).answers()
        return [
            WeakDocument(int(str(voted.key)), voted.text, str(voted.key), bare(said.spans), said.soft)
            for voted, said in zip(spoken, answers, strict=True)
        ]

    def with_votes(self, texts: list[VotedText]) -> Project:
        """The same project with other votes on its texts."""
        other = copy.copy(self)
        other.texts = texts
        return other


def compared(seed: int, size: int, settings: TrainSettings) -> dict[str, Any]:
    """F1 on dev of both ways and of the chosen way, and seconds."""
    project, weak = Project(seed, size), WeakSettings()
    alone, began = Dataset(project.gold, (), GOLD), time.monotonic()
    both, _ = choose(alone, project.weak, LABELS, settings, weak.changed(training="always"), TrainingProgress())
    _, choice = choose(alone, project.weak, LABELS, settings, weak, TrainingProgress())
    choosing = time.monotonic() - began
    answer: dict[str, Any] = {"choosing_s": round(choosing), "choice": choice.as_dict() if choice else None}
    for way, dataset in (("gold", alone), ("weak", both)):
        began = time.monotonic()
        answer |= {way: f1_of(dataset, settings, weak), f"{way}_s": round(time.monotonic() - began)}
    return answer | {"chosen": answer["weak" if choice and choice.used else "gold"]}


def f1_of(dataset: Dataset, settings: TrainSettings, weak: WeakSettings) -> float:
    """Micro-F1 on the sample of dev after a whole training."""
    dev = documents(Random(0).sample(records(SET, "dev"), DEV), 10**6)
    judged = Dataset(dataset.train, dev, GOLD, weak=dataset.weak)
    base = load_base(settings.encoder, LABELS, settings.max_length, settings.encoder_dropout)
    data = encode_data(judged, base, LABELS, settings, weak)
    padding_id = base.tokenizer.pad_token_id or 0
    with reproducible(settings.seed, settings.threads):
        start = start_from_encoder(base, settings, len(LABELS.tags), data.lesson.last)
        learn(start.model, data.lesson, start.settings, padding_id, TrainingProgress())
        return round(data.dev.evaluate(torch_reader(start.model, padding_id)).f1, 4)


def documents(sentences: Sequence[Mapping[str, Any]], first: int) -> tuple[TrainingDocument, ...]:
    """Sentences as labelled documents, numbered from `first` on."""
    return tuple(
        TrainingDocument(number, content_hash(one["text"]), str(number), one["text"], spans_of(one), number)
        for number, one in enumerate(sentences, start=first)
    )


def spans_of(sentence: Mapping[str, Any]) -> tuple[Span, ...]:
    """Its gold."""
    return tuple(Span(one["start"], one["end"], one["label"]) for one in sentence["spans"])


def bare(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Spans without scores."""
    return tuple(span.without_score() for span in spans)


def print_table(measured: Sequence[Mapping[str, Any]]) -> None:
    """A row for each size: mean F1 of the draws, single draws behind it; how often weak labels were chosen."""
    print(
        "| gold | without weak labels | with | chosen | weak chosen | worst loss to gold alone | s: choosing / with |"
    )
    print("| --- " * 7 + "|")
    for size in sorted({line["size"] for line in measured}):
        rows = sorted((line for line in measured if line["size"] == size), key=lambda line: line["seed"])
        cells = [f"**{mean(row[way] for row in rows):.3f}** ({singles(rows, way)})" for way in WAYS]
        used = sum(bool(row["choice"] and row["choice"]["used"]) for row in rows)
        worst = max(row["gold"] - row["chosen"] for row in rows)
        took = " / ".join(f"{mean(row[name] for row in rows):.0f}" for name in ("choosing_s", "weak_s"))
        print(f"| {size} | " + " | ".join(cells) + f" | {used} of {len(rows)} | {worst:.3f} | {took} |")


def singles(rows: Sequence[Mapping[str, Any]], way: str) -> str:
    """The single draws."""
    return ", ".join(f"{row[way]:.3f}" for row in rows)


if __name__ == "__main__":
    main()
