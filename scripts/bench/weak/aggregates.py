"""Compare the ways to aggregate votes: python -m scripts.bench.weak.aggregates [NAME ...] [--gold N ...] [--seeds N]

Prints for each set of texts and each number of labelled texts, mean over seeds: strict micro-F1 (0..100) of every
method and of "auto" on texts whose gold nobody saw, by how much "auto" is behind the best single method, and what
"auto" chose. The texts that are judged are the same for every number of labelled texts. Needs LOOP_SHARED_DATA.
--json FILE adds one line for each set, number and seed, so that runs in parts can be put together by --read FILE ...
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import mean

from loop.evaluation.scores import count
from ner.spans import Span
from scripts.bench.weak.sets import SETS, BenchSet
from weak_labeling.aggregate.choosing import METHODS, aggregate, learners
from weak_labeling.aggregate.contract import Aggregated, VotedText
from weak_labeling.aggregate.generative import estimated_precision


@dataclass(frozen=True)
class Row:
    """One set with so many labelled texts, drawn by one seed. f1: of each method, and of what "auto" chose, 0..100."""

    name: str
    labelled: int
    seed: int
    f1: Mapping[str, float]
    chosen: str


def main() -> None:
    """Read the arguments, compare, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help=f"of {', '.join(SETS)}; all unless some are named")
    parser.add_argument("--gold", type=int, nargs="+", default=[0, 10, 25, 50, 100])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path, nargs="+", default=[])
    arguments = parser.parse_args()
    if arguments.read:
        lines = [line for path in arguments.read for line in path.read_text("utf-8").splitlines()]
        print(*table([Row(**json.loads(line)) for line in lines]), sep="\n")
        return
    rows = []
    for name in arguments.names or SETS:
        for row in compared(SETS[name](), arguments.gold, arguments.seeds):
            rows.append(row)
            if arguments.json:
                with arguments.json.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(row)) + "\n")
    print(*table(rows), sep="\n")


def compared(found: BenchSet, numbers: Sequence[int], seeds: int) -> Iterator[Row]:
    """A row for each number of labelled texts and each seed."""
    texts = (*found.pool, *found.judged)
    known = list(learners(texts, found.labels, estimated_precision(texts, found.labels)))
    for seed in range(seeds):
        drawn = list(found.pool)
        Random(seed).shuffle(drawn)
        judged = (*drawn[max(numbers) :], *found.judged)
        for number in numbers:
            gold = {text.key: found.gold[text.key] for text in drawn[:number]}
            chosen = aggregate(texts, gold, found.labels).method
            f1 = {
                one.name: _f1(found, judged, learner(gold)(judged))
                for one, learner in known
                if number or not one.needs_gold
            }
            yield Row(found.name, number, seed, f1, chosen)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown; each line is the mean over seeds."""
    names = [one.name for one in METHODS]
    yield f"| texts | labelled | {' | '.join(names)} | auto | behind the best | auto chose |"
    yield "| --- | " + "---: | " * (len(names) + 3) + "--- |"
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.name, row.labelled), []).append(row)
    for (name, labelled), group in groups.items():
        means = {one: mean(row.f1[one] for row in group) for one in names if one in group[0].f1}
        auto = mean(row.f1[row.chosen] for row in group)
        cells = [f"{means[one]:.1f}" if one in means else "" for one in names]
        chose = ", ".join(f"{one} {times}" for one, times in Counter(row.chosen for row in group).most_common())
        yield f"| {name} | {labelled} | {' | '.join(cells)} | {auto:.1f} | {max(means.values()) - auto:.1f} | {chose} |"


def _f1(found: BenchSet, judged: Sequence[VotedText], said: Iterable[Aggregated]) -> float:
    gold: list[Sequence[Span]] = [found.gold[text.key] for text in judged]
    return 100 * count(gold, [one.spans for one in said], found.labels).micro_f1()


if __name__ == "__main__":
    main()
