"""StackOverflow-5 through the command line alone: python -m scripts.bench.stackoverflow [--keep DIR]

Makes a project, imports train.jsonl as training texts and dev.jsonl as the holdout, trains with the settings' defaults,
promotes, and scores the file as served. Prints a Markdown table per entity type and how long each step took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("LOOP_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
DATA = SHARED / "stackoverflow-ner"
LABELS = ("SOFTWARE", "OS", "HARDWARE", "VERSION", "ERROR")
LABEL_MAP = {
    "Application": "SOFTWARE",
    "Library": "SOFTWARE",
    "Language": "SOFTWARE",
    "Operating_System": "OS",
    "Device": "HARDWARE",
    "Version": "VERSION",
    "Error_Name": "ERROR",
}


def main() -> None:
    """Read the arguments, run the steps, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--keep", type=Path, help="make the project there and leave it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a line under [train]")
    arguments = parser.parse_args()
    if not (arguments.data / "train.jsonl").is_file():
        sys.exit(f"{arguments.data} has no train.jsonl: name the folder with --data or LOOP_SHARED_DATA")
    with tempfile.TemporaryDirectory() as scratch:
        run(arguments.keep or Path(scratch) / "stackoverflow", arguments.data, arguments.set)


def run(home: Path, data: Path, training: list[str]) -> None:
    """Every step, in the order a user would take them."""
    loop("init", str(home), "--labels", ",".join(LABELS))
    configure(home, data, training)
    in_home = ("-C", str(home))
    seconds = {}
    seconds["import"], _ = timed("import", str(data / "train.jsonl"), "--split", "train", *in_home)
    timed("import", str(data / "dev.jsonl"), "--split", "holdout", *in_home)
    seconds["retrain"], trained = timed("retrain", *in_home)
    seconds["promote"], promoted = timed("promote", *in_home)
    seconds["evaluate"], scored = timed("evaluate", trained["version"], *in_home)
    print(f"{'promoted' if promoted['promoted'] else 'not promoted'}: {promoted['reason']}")
    print_scores(scored, trained)
    print("\n" + ", ".join(f"{step} {taken:.0f} s" for step, taken in seconds.items()))


def configure(home: Path, data: Path, training: list[str]) -> None:
    """Add the label map, in which every other type is no entity, and settings of the training where some were given."""
    settings = home / "loop.toml"
    lines = settings.read_text("utf-8").splitlines()
    at = lines.index("[train]") + 1
    lines[at:at] = training
    files = [(data / f"{split}.jsonl").read_text("utf-8").split("\n") for split in ("train", "dev")]
    fine = {span["label"] for line in chain(*files) if line for span in json.loads(line)["spans"]}
    table = [f'{name} = "{LABEL_MAP.get(name, "O")}"' for name in sorted(fine)]
    settings.write_text("\n".join([*lines, "[label_map]", *table]) + "\n", "utf-8")


def timed(*words: str) -> tuple[float, dict[str, Any]]:
    """(seconds, the JSON answer) of a command."""
    began = time.monotonic()
    answer = loop(*words, "--json")
    return time.monotonic() - began, json.loads(answer)


def loop(*words: str) -> str:
    """The standard output of `loop ...`; ends this script when it fails."""
    done = subprocess.run([sys.executable, "-m", "loop.cli", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"loop {words[0]} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def print_scores(scored: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """The holdout's table, and what the served file says of the development split."""
    print("\n| as served, dev.jsonl | precision | recall | F1 | support |\n| --- | --- | --- | --- | --- |")
    for name in (*LABELS, "micro", "macro"):
        row = scored["types"].get(name) or scored[name]
        figures = " | ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        print(f"| {name} | {figures} | {row['support']} |")
    parity, served = trained["parity"], trained["parity"]["attempts"][-1]
    held_back = (
        f"F1 {trained['dev_f1']:.3f} on {trained['dev_documents']:,} held back" if trained["dev_documents"] else ""
    )
    print(
        f"\n{trained['train_documents']:,} texts, {trained['epochs']} epochs; {held_back or 'none held back'}; as "
        f"served ({trained['precision']}), the file names the spans of FP32 at an F1 of {served['f1']:.3f} on "
        f"{served['texts']:,} texts; logits of FP32 differ from torch's by {parity['logit_difference']:.1e}; "
        f"{parity['bytes'] / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
