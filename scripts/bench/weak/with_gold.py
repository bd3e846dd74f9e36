"""Whether a model of an example's gold reaches its targets: python -m scripts.bench.weak.with_gold EXAMPLE ...

For each example: makes its project, imports a fifth of the gold as the holdout and the rest for training, lets the
sources of weak labels vote, trains, and judges the model, all by the commands that a user types. The holdout is drawn
evenly from the files that were not read when the sources were written (seen.txt names the read ones), or from all files
where every one was read. Nothing learns from the holdout. Prints the scores of the served file as a Markdown table with
each target for F1, and the targets that the promotion judged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loop.settings.settings import Settings
from loop.up.project import EXAMPLES, SALT, make_from_example
from scripts.build_example import read_messages, seen_sources

ROOT = Path(__file__).resolve().parents[3]
_HELD_OUT = 5  # one text of so many


def main() -> None:
    """Read the arguments, measure each example in a folder that goes away unless it is kept, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="+", choices=sorted(path.parent.name for path in EXAMPLES.glob("*/name.txt")))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the projects there and leave them")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="learn from each Nth text that is not held out"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.examples:
            measure(EXAMPLES / name, (given.keep or Path(scratch)) / name, given.every)


def measure(example: Path, home: Path, every: int) -> None:
    """One example, from an empty folder on; prints its table."""
    make_from_example(example, home, {}, environ={}, salt=SALT)
    ids = holdout_of(example)
    lines = (example / "gold.jsonl").read_text("utf-8").splitlines(keepends=True)
    held_out = [line for line in lines if json.loads(line)["id"] in ids]
    train = [line for line in lines if json.loads(line)["id"] not in ids][::every]
    for split, part in (("train", train), ("holdout", held_out)):
        file = home / f"{split}.jsonl"
        file.write_text("".join(part), "utf-8")
        loop(home, "import", str(file), "--split", split)
    loop(home, "weak", "apply")
    trained = loop(home, "retrain")
    judged = loop(home, "promote", may_end_with=(0, 8))
    scored = loop(home, "evaluate", trained["version"])
    print(f"\n{example.name}: {len(train)} texts learned from, {len(held_out)} held out\n")
    print_scores(scored, Settings.load(home, {}))
    for gate in judged["gates"]:
        if gate["kind"] in ("quality", "cost"):
            print(f"- {gate['name']}: {gate['value']}, target {gate['target']}: {gate['status']}")
    print(judged["reason"], flush=True)


def holdout_of(example: Path) -> frozenset[str]:
    """The ids of the texts that judge."""
    messages, seen = read_messages(example), seen_sources(example)
    untouched = [one.id for one in messages if one.source not in seen] or [one.id for one in messages]
    number = len(messages) // _HELD_OUT
    return frozenset(untouched[(place + 1) * len(untouched) // number - 1] for place in range(number))


def loop(home: Path, *words: str, may_end_with: Sequence[int] = (0,)) -> Any:
    """The JSON answer of one command of the loop on the project; ends this script when the command fails."""
    command = [sys.executable, "-m", "loop.cli", "-C", str(home), *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in may_end_with:
        sys.exit(f"loop {words[0]} ended with {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


def print_scores(scored: Mapping[str, Any], settings: Settings) -> None:
    """Precision, recall and F1 of the holdout, type by type, beside the F1 that is asked for."""
    print(
        "| as served, holdout | precision | recall | F1 | support | target F1 |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in (*scored["types"], "micro", "macro"):
        row = scored["types"].get(name) or scored[name]
        target = settings.gates.f1 if name == "micro" else settings.gates.types.get(name, {}).get("f1", 0)
        figures = " | ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        print(f"| {name} | {figures} | {row['support']} | {target or ''} |")


if __name__ == "__main__":
    main()
