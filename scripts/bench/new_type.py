"""A type that comes late: python -m scripts.bench.new_type RESULTS.jsonl [--fast]

Draws old and new sentences of StackOverflow-5. One type is hidden from the old sentences, as if nobody had looked for
it. The new sentences have it: half of them at least once, and the others have an entity of another type. Trained from
the encoder: the old sentences alone, on the other types; then old and new sentences, where the old ones leave the
hidden type open, as `loop retrain` does; where they teach that it is absent; and where they have it. Scored in torch on
600 sentences of dev; the test split is never read.

Each draw adds a line to RESULTS.jsonl, and the script passes over what stands there. It prints a Markdown table of the
micro-F1 of the other types and the F1 of the hidden type. --fast takes 200 and 50 sentences, 12 passes in place of 20,
and one seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import numpy as np

from loop.evaluation.scores import Counts
from loop.settings.model import TrainSettings, WeakSettings
from loop.training.dataset import Dataset, TrainingDocument
from loop.training.dev_split import torch_reader
from loop.training.encoded import EncodedData, encode_data
from loop.training.encoder import BaseModel, load_base
from loop.training.progress import TrainingProgress
from loop.training.start import start_from_encoder
from loop.training.trainer import reproducible
from loop.training.weak_first import learn
from ner.labels import LabelSet
from scripts.bench.weak.training import documents
from scripts.bench_recipe import Record, lines, records
from store.registry import GOLD

SET, HIDDEN = "stackoverflow-ner", "VERSION"
TYPES = ("ERROR", "HARDWARE", "OS", "SOFTWARE")
OLD, NEW, SEEDS, DEV, FAST_PASSES = 500, 100, (1, 2, 3), 600, 12
BEFORE, OPEN, ABSENT, WHOLE = "before the type came", "left open", "absent", "annotated"


def main() -> None:
    """Read the arguments, run what is not in the file yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    old, new, seeds = (200, 50, (1,)) if given.fast else (OLD, NEW, given.seeds)
    done = {(line["old"], line["new"], line["seed"]) for line in lines(given.results)}
    for seed in seeds:
        if (old, new, seed) not in done:
            found = _Draw(old, new, seed, given.fast).measured()
            with given.results.open("a") as file:
                file.write(json.dumps({"old": old, "new": new, "seed": seed, "found": found}) + "\n")
    print_table(lines(given.results))


class _Draw:
    """Old and new sentences of one seed."""

    def __init__(self, old: int, new: int, seed: int, fast: bool) -> None:
        settings = TrainSettings(seed=seed, threads=1)
        self.settings = settings.changed(passes=FAST_PASSES) if fast else settings
        sentences = list({one["text"]: one for one in records(SET, "train")}.values())
        Random(seed).shuffle(sentences)
        self.annotated = documents(sentences[:old], 0)
        self.old = tuple(without_hidden(one) for one in self.annotated)
        self.silent = tuple(replace(one, unannotated=frozenset({HIDDEN})) for one in self.old)
        later = [one for one in sentences[old:] if one["spans"]]
        having = [one for one in later if any(span["label"] == HIDDEN for span in one["spans"])][: new // 2]
        others = [one for one in later if all(span["label"] != HIDDEN for span in one["spans"])][: new - new // 2]
        self.new = documents([*having, *others], old)
        self.dev = documents(Random(0).sample(records(SET, "dev"), DEV), 10**6)

    def measured(self) -> dict[str, tuple[float, float | None]]:
        """The figures of each way."""
        before = self.trained(self.old, hidden=False)
        ways = {OPEN: (*self.silent, *self.new), ABSENT: (*self.old, *self.new), WHOLE: (*self.annotated, *self.new)}
        return {BEFORE: before} | {way: self.trained(texts) for way, texts in ways.items()}

    def trained(self, texts: Sequence[TrainingDocument], hidden: bool = True) -> tuple[float, float | None]:
        """The figures of a training from the encoder."""
        labels, base, data = self.encoded(texts, hidden)
        with reproducible(self.settings.seed, 1):
            start = start_from_encoder(base, self.settings, len(labels.tags), data.lesson.last)
            learn(start.model, data.lesson, start.settings, base.tokenizer.pad_token_id or 0, TrainingProgress())
        return self.f1(start.model, base, data)

    def encoded(self, texts: Sequence[TrainingDocument], hidden: bool) -> tuple[LabelSet, BaseModel, EncodedData]:
        """What a training of these texts works with; hidden: whether the hidden type is one of its labels."""
        labels = LabelSet((*TYPES, HIDDEN) if hidden else TYPES)
        dev = self.dev if hidden else tuple(map(without_hidden, self.dev))
        settings = self.settings
        base = load_base(settings.encoder, labels, settings.max_length, settings.encoder_dropout)
        return labels, base, encode_data(Dataset(tuple(texts), dev, GOLD), base, labels, settings, WeakSettings())

    def f1(self, model: Any, base: BaseModel, data: EncodedData) -> tuple[float, float | None]:
        """Micro-F1 of the other types on dev, and F1 of the hidden type."""
        counts = data.dev.evaluate(torch_reader(model, base.tokenizer.pad_token_id or 0)).counts
        others = of_types(counts, [place for place, name in enumerate(counts.types) if name != HIDDEN])
        hidden = of_types(counts, [place for place, name in enumerate(counts.types) if name == HIDDEN])
        found = round(others.micro_f1(), 4), round(hidden.micro_f1(), 4) if hidden.types else None
        print(found, flush=True)
        return found


def of_types(counts: Counts, places: Sequence[int]) -> Counts:
    """The counts of some types alone."""
    chosen = np.array(places, dtype=np.intp)
    sides = (counts.true_positives, counts.predicted, counts.gold)
    return Counts(tuple(counts.types[place] for place in places), *(side[:, chosen] for side in sides))


def without_hidden(document: TrainingDocument) -> TrainingDocument:
    """The document as people annotated it who did not know the hidden type."""
    return replace(document, spans=tuple(span for span in document.spans if span.label != HIDDEN))


def print_table(measured: Sequence[Mapping[str, Any]]) -> None:
    """A row for each way and size: means over the draws, single draws behind them."""
    print(
        f"| old + new | the hidden type ({HIDDEN}) in the old sentences | micro-F1 of the others | F1 of the hidden |"
    )
    print("| --- " * 4 + "|")
    for old, new in dict.fromkeys((line["old"], line["new"]) for line in measured):
        rows: list[Record] = [line["found"] for line in measured if (line["old"], line["new"]) == (old, new)]
        for way in (BEFORE, OPEN, ABSENT, WHOLE):
            cells = [cell([row[way][side] for row in rows]) for side in (0, 1)]
            print(f"| {old} + {new if way != BEFORE else 0} | {way} | " + " | ".join(cells) + " |")


def cell(values: Sequence[float | None]) -> str:
    """Mean and single values."""
    known = [value for value in values if value is not None]
    return f"**{mean(known):.3f}** ({', '.join(f'{value:.3f}' for value in known)})" if known else ""


if __name__ == "__main__":
    main()
