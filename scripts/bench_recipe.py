"""What a recipe learns from how much gold: python -m scripts.bench_recipe RESULTS.jsonl [--fast] [--tree OLD]

Draws 50, 100, 250, 500 and all sentences of three corpora, imports them into a new project, trains with `loop retrain`,
and scores the file as served (INT8) on the corpus's whole dev split (`loop evaluate --on`). Dev judges and has no part
in a training; the test splits are never read. A draw depends on set and seed alone, and a smaller draw is the beginning
of a larger one, so that two recipes learn from the same sentences.

Each training adds a line to RESULTS.jsonl. The script passes over what stands there, so it can be stopped and started
again. A training that ends without a model counts as F1 0. At the end it prints Markdown tables of every recipe in the
file. --tree trains with the code of another checkout; --set adds a line under [train]; --name is what file and
tables call the recipe. --fast draws once and leaves out 50 and all. Two processes with different --seeds and a
file each, with `--set threads=1`, are faster than one process on two cores; `cat` their files for the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from loop.evaluation.scores import count
from loop.judging.fp32_process import measure
from loop.training.encoder import MINILM
from ner.labels import LabelSet
from ner.spans import Span
from scripts.bench.stackoverflow import LABEL_MAP, SHARED

ROOT = Path(__file__).resolve().parents[1]
# The label that each corpus's labels become; None leaves them as they are.
SETS: dict[str, Mapping[str, str] | None] = {"stackoverflow-ner": LABEL_MAP, "wnut17": None, "cyner": None}
# 0 stands for all sentences.
ALL = 0
SIZES, SEEDS = (50, 100, 250, 500, ALL), (1, 2, 3)
FAST_SIZES, FAST_SEEDS = (100, 250, 500), (1,)
# What the mean over sets and sizes is taken of.
MIDDLE = frozenset({100, 250, 500})

Record = dict[str, Any]


class CommandFailedError(Exception):
    """A command that should have worked."""


def main() -> None:
    """Read the arguments, run what is not in the file yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--name", default="this", help="of the recipe, in the file and in the table")
    parser.add_argument("--tree", type=Path, default=ROOT, help="a checkout whose code trains")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a line under [train]")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--sizes", nargs="*", type=int, help="0 for all")
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--fast", action="store_true", help="one draw of 100, 250 and 500 sentences")
    given = parser.parse_args()
    sizes = given.sizes or (FAST_SIZES if given.fast else SIZES)
    seeds = given.seeds or (FAST_SEEDS if given.fast else SEEDS)
    done = {key(line) for line in lines(given.results)}
    for seed, size, name in product(seeds, sizes, given.sets):
        if (given.name, name, size, seed) not in done:
            with tempfile.TemporaryDirectory() as scratch:
                line = learned(Path(scratch), given.tree.resolve(), name, size, seed, given.set)
            with given.results.open("a") as file:
                file.write(json.dumps({"recipe": given.name, "set": name, "size": size, "seed": seed, **line}) + "\n")
    print_table(lines(given.results))


def learned(scratch: Path, tree: Path, name: str, size: int, seed: int, training: Sequence[str]) -> Record:
    """Train on one draw, and score the file as served on dev."""
    dev, home = records(name, "dev"), scratch / "home"
    labels = sorted({span["label"] for record in (*dev, *records(name, "train")) for span in record["spans"]})
    for file, chosen in (("gold", drawn(name, size, seed)), ("dev", dev)):
        (scratch / f"{file}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in chosen))
    loop(tree, "init", str(home), "--labels", ",".join(labels))
    toml = (home / "loop.toml").read_text().replace("[train]", "\n".join(["[train]", f"seed = {seed}", *training]), 1)
    (home / "loop.toml").write_text(toml)
    loop(tree, "-C", str(home), "import", str(scratch / "gold.jsonl"), "--split", "train")
    began = time.monotonic()
    try:
        trained = json.loads(loop(tree, "-C", str(home), "retrain", "--json"))
    except CommandFailedError as error:
        return {"f1": 0.0, "seconds": round(time.monotonic() - began, 1), "failed": str(error)}
    seconds = time.monotonic() - began
    on_dev = ("evaluate", trained["version"], "--on", str(scratch / "dev.jsonl"), "--json")
    scores = json.loads(loop(tree, "-C", str(home), *on_dev))
    bundle = home / "models" / trained["path"] if tree == ROOT else None
    encoder = tomllib.loads(toml)["train"].get("encoder", MINILM)
    return {
        "f1": round(scores["micro"]["f1"], 4),
        "fp32": round(f1_in_fp32(bundle, encoder, dev, labels, scratch), 4) if bundle else None,
        "seconds": round(seconds, 1),
        "types": {label: round(scores["types"][label]["f1"], 4) for label in labels},
        "precision": trained.get("precision"),
    }


def f1_in_fp32(bundle: Path, encoder: str, dev: Sequence[Record], labels: Sequence[str], scratch: Path) -> float:
    """What the model of the bundle has in FP32 on the sentences of dev, decoded as it is served."""
    texts = [record["text"] for record in dev]
    asked = {"bundle": str(bundle), "encoder": encoder, "workspace": str(scratch), "texts": texts, "timed": 0}
    measured = measure({**asked, "threads": 1, "seed": 0})
    found = [[Span(**span) for span in spans] for spans in measured["spans"]]
    gold = [[Span(span["start"], span["end"], span["label"]) for span in record["spans"]] for record in dev]
    return count(gold, found, LabelSet(tuple(labels))).micro_f1()


def records(name: str, split: str) -> list[Record]:
    """The sentences of a corpus, under the labels of its project."""
    to = SETS[name]
    with (SHARED / name / f"{split}.jsonl").open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    for record in found if to is not None else ():
        record["spans"] = [span | {"label": to[span["label"]]} for span in record["spans"] if span["label"] in to]
    return [{field: record[field] for field in ("id", "text", "spans")} for record in found]


def drawn(name: str, size: int, seed: int) -> list[Record]:
    """The first `size` distinct sentences of train (ALL: every one), in the random order of `seed`."""
    distinct = list({record["text"]: record for record in records(name, "train")}.values())
    Random(seed).shuffle(distinct)
    return distinct if size == ALL else distinct[:size]


def loop(tree: Path, *words: str) -> str:
    """The standard output of `loop ...` in a checkout. Raises CommandFailedError."""
    command = [sys.executable, "-m", "loop.cli", *words]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CommandFailedError(f"loop {' '.join(words)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def lines(results: Path) -> list[Record]:
    """What was measured so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def key(line: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """What a line is about."""
    return line["recipe"], line["set"], line["size"], line["seed"]


def print_table(measured: Sequence[Record]) -> None:
    """A row for each recipe and size: mean F1 of the draws (single draws behind it), and mean seconds, by set. Then the
    mean over the sets and the sizes of MIDDLE, of each recipe that has all of them, and its trainings that failed; and
    what INT8 costs, where this checkout trained."""
    names = list(dict.fromkeys(line["set"] for line in measured))
    print("| recipe | sentences | " + " | ".join(f"{name}: F1 | s" for name in names) + " |")
    print("| --- " * (2 + 2 * len(names)) + "|")
    for (recipe, size), rows in grouped(measured):
        cells = [cell for name in names for cell in cells_of([row for row in rows if row["set"] == name])]
        print(f"| {recipe} | {size or 'all'} | " + " | ".join(cells) + " |")
    print("\n| recipe | mean F1 at 100, 250 and 500 sentences | trainings | failed |\n| --- | --- | --- | --- |")
    for recipe in dict.fromkeys(line["recipe"] for line in measured):
        own = [line for line in measured if line["recipe"] == recipe]
        cells_f1 = [
            [line["f1"] for line in own if (line["set"], line["size"]) == cell] for cell in product(names, MIDDLE)
        ]
        middle = f"{mean(map(mean, cells_f1)):.3f}" if all(cells_f1) else "-"
        print(f"| {recipe} | {middle} | {len(own)} | {sum('failed' in line for line in own)} |")
    print("\n| set | trainings | INT8 less FP32, points of F1: mean (least, most) |\n| --- | --- | --- |")
    for name in names:
        lost = [100 * (line["f1"] - line["fp32"]) for line in measured if line["set"] == name and line.get("fp32")]
        if lost:
            print(f"| {name} | {len(lost)} | {mean(lost):+.2f} ({min(lost):+.2f}, {max(lost):+.2f}) |")


def grouped(measured: Iterable[Record]) -> Iterator[tuple[tuple[str, int], list[Record]]]:
    """The lines of each recipe and size, the smallest first."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for line in measured:
        groups.setdefault((line["recipe"], line["size"]), []).append(line)
    yield from sorted(groups.items(), key=lambda item: (item[0][1] == ALL, item[0][1], item[0][0]))


def cells_of(rows: Sequence[Record]) -> tuple[str, str]:
    """(F1, seconds) of one set."""
    if not rows:
        return "", ""
    single = ", ".join(f"{row['f1']:.3f}" for row in rows)
    return f"**{mean(row['f1'] for row in rows):.3f}** ({single})", f"{mean(row['seconds'] for row in rows):.0f}"


if __name__ == "__main__":
    main()
