"""Does a model recover from a poisoned source? python -m scripts.bench.weak.poison_training RESULTS.jsonl [--fast]

StackOverflow-5 with the labelling functions of scripts/bench/weak/stackoverflow, gold and other sentences drawn as by
scripts.bench.weak.training. The poisoned source of scripts.bench.weak.poison, a gazetteer that marks the most common
words as entities of a type that the seed draws, joins the honest sources. Three models learn from weak labels and then
from the gold: without the poisoned source; with it, after sources that do harm were muted as `loop retrain` mutes them;
and with it, nothing muted. Sources are muted by the same rule where there is no poison. Micro-F1 on 600 sentences of
dev, the same for all models.

A training is deterministic. Where muting leaves the very data of the run without the poison (by its fingerprint), a
second training gives the same model: it is made for 100 gold sentences and seed 1, to see that, and left out for the
others. Each draw adds a line to RESULTS.jsonl, and the script passes over what stands there. --fast trains with 12
passes, not 20.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from statistics import mean
from typing import Any

from loop.settings.model import TrainSettings, WeakSettings
from loop.training.dataset import Dataset
from loop.training.progress import TrainingProgress
from loop.training.weak_choice import choose
from loop.weak.worth import UNLABELLED, VoteSample, harmful, without_votes
from ner.documents import content_hash
from scripts.bench.weak.poison import POISON, poison
from scripts.bench.weak.training import LABELS, SEEDS, Project, f1_of, run_draws
from store.registry import GOLD
from weak_labeling.aggregate.contract import VotedText

SIZES = (100, 250)
WAYS = ("clean", "muted", "poisoned")
_HEAD = (
    "gold",
    "without the poison",
    "with it, muted",
    "with it, not muted",
    "poison muted",
    "honest muted, with / without",
    "muted: most below the run without",
    "same data",
    "trained twice: same F1",
)


def main() -> None:
    """Read the arguments, run what is not in the file yet, print."""
    print_table(run_draws(__doc__, SIZES, measured))


def measured(seed: int, size: int, settings: TrainSettings) -> dict[str, Any]:
    """What is written of one draw; the first draw is trained twice on the same data."""
    return compared(Project(seed, size), settings, twice=(size, seed) == (SIZES[0], SEEDS[0]))


def compared(project: Project, settings: TrainSettings, *, twice: bool) -> dict[str, Any]:
    """F1 on dev of each way, and which sources were muted with the poison and without it.

    twice: train on the same data once more.
    """
    label = Random(settings.seed).choice(LABELS.types)
    texts = {"clean": project.texts, "poisoned": poison(project.texts, label)}
    muted = {way: muted_by_the_loop(project, voted) for way, voted in texts.items()}
    data = {
        "clean": learned_from(project, texts["clean"], muted["clean"], settings),
        "muted": learned_from(project, texts["poisoned"], muted["poisoned"], settings),
        "poisoned": learned_from(project, texts["poisoned"], (), settings),
    }
    same = data["muted"].fingerprint == data["clean"].fingerprint
    weak = WeakSettings()
    f1 = {way: f1_of(data[way], settings, weak) for way in WAYS if way != "muted" or twice or not same}
    answer = {"label": label, "muted_sources": muted["poisoned"], "muted_without_poison": muted["clean"], "same": same}
    return {**answer, "trained_twice": same and twice, **f1, "muted": f1.get("muted", f1["clean"])}


def muted_by_the_loop(project: Project, voted: Sequence[VotedText]) -> list[str]:
    """The names of the sources that a retrain mutes, in the order of their names."""
    gold = {one.document_id: one.spans for one in project.gold}
    labelled = tuple(text for text in voted if text.key in gold)
    others = sorted((t for t in voted if t.key not in gold and t.votes), key=lambda text: content_hash(text.text))
    sample = VoteSample(LABELS, labelled, tuple(text.key for text in labelled), gold, tuple(others[:UNLABELLED]))
    return sorted(harm.source for harm in harmful(sample, sample.sources()))


def learned_from(
    project: Project, voted: Sequence[VotedText], muted: Sequence[str], settings: TrainSettings
) -> Dataset:
    """The gold, with the weak labels that are learned from first."""
    counted = [without_votes(text, muted) for text in voted]
    alone, always = Dataset(project.gold, (), GOLD), WeakSettings(training="always")
    weak = project.with_votes(counted).weak
    return choose(alone, weak, LABELS, settings, always, TrainingProgress())[0]


def print_table(results: Sequence[Mapping[str, Any]]) -> None:
    """A row for each number of gold sentences: means of the draws, single draws behind them."""
    print(f"| {' | '.join(_HEAD)} |\n|{' --- |' * len(_HEAD)}")
    for size in sorted({line["size"] for line in results}):
        rows = sorted((line for line in results if line["size"] == size), key=lambda line: line["seed"])
        cells = [f"**{mean(row[way] for row in rows):.3f}** ({singles(rows, way)})" for way in WAYS]
        found = sum(POISON in row["muted_sources"] for row in rows)
        honest = sum(len(set(row["muted_sources"]) - {POISON}) for row in rows)
        falsely = sum(len(row["muted_without_poison"]) for row in rows)
        worst = max(row["clean"] - row["muted"] for row in rows)
        twice = [row["clean"] == row["muted"] for row in rows if row["trained_twice"]]
        cells += [f"{found} of {len(rows)}", f"{honest} / {falsely}", f"{worst:.3f}"]
        cells += [f"{sum(row['same'] for row in rows)} of {len(rows)}", f"{sum(twice)} of {len(twice)}"]
        print(f"| {size} | " + " | ".join(cells) + " |")


def singles(rows: Sequence[Mapping[str, Any]], way: str) -> str:
    """The single draws."""
    return ", ".join(f"{row[way]:.3f}" for row in rows)


if __name__ == "__main__":
    main()
