"""Variants of a training on a part of StackOverflow-5: python -m scripts.bench.study FOLDER [--train N] [--dev N]

Draws sentences of train.jsonl and of dev.jsonl by the seed, and writes them into FOLDER under the five types, with
further sentences of train.jsonl that are not labelled. Runs `loop study` on these files, and prints a Markdown table of
its report. What follows `--` goes to `loop study`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from scripts.bench.stackoverflow import DATA, LABEL_MAP


def main() -> None:
    """Read the arguments, draw, study, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--unlabelled", type=int, default=3000)
    parser.add_argument("--dev", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    words = sys.argv[1:]
    own = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:own])
    given.folder.mkdir(parents=True, exist_ok=True)
    train = drawn("train", given.train + given.unlabelled, given.seed)
    for record in train[given.train :]:
        del record["spans"]
    for split, records in (("train", train), ("dev", drawn("dev", given.dev, given.seed))):
        (given.folder / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    out = given.folder / "study"
    asked = ["study", str(given.folder / "train.jsonl"), "--dev", str(given.folder / "dev.jsonl"), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "loop.cli", *asked, *words[own + 1 :]], check=True)
    print_table(json.loads((out / "report.json").read_text("utf-8")))


def drawn(split: str, size: int, seed: int) -> list[dict[str, Any]]:
    """The first `size` distinct sentences of a split in the random order of `seed`; other types are no entities."""
    records = [json.loads(line) for line in (DATA / f"{split}.jsonl").read_text("utf-8").splitlines() if line]
    distinct = list({record["text"]: record for record in records}.values())
    Random(seed).shuffle(distinct)
    for record in distinct[:size]:
        spans = [span for span in record["spans"] if span["label"] in LABEL_MAP]
        record["spans"] = [span | {"label": LABEL_MAP[span["label"]]} for span in spans]
    return distinct[:size]


def print_table(study: dict[str, Any]) -> None:
    """A column for each variant."""
    columns = [cells(one) for one in study["variants"] if not one["error"]]
    print(f"\n| | {' | '.join(one['variant'] for one in study['variants'])} |\n| --- |{' --- |' * len(columns)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


def cells(one: dict[str, Any]) -> dict[str, str]:
    """What the table says of a variant, by the name of the row."""
    served = {row["name"]: row["served"] for row in one["scores"]}
    micro, costs = served["micro"], one["costs"]
    shown = {"micro-F1 as served": micro["f1"], "precision": micro["precision"], "recall": micro["recall"]}
    shown |= {f"{name}": row["f1"] for name, row in served.items() if name not in ("micro", "macro")}
    shown |= {"micro-F1 in FP32": one["quantisation"][0]["reference_f1"]}
    told = {name: f"{f1:.3f}" for name, f1 in shown.items()}
    told |= {"points against lora (95 %)": difference(one)}
    told |= {"trained parameters": f"{costs['trainable']:,}", "parameters": f"{costs['parameters']:,}"}
    sizes = {"adapter": costs["adapter_mb"], "FP32": costs["fp32_mb"], "INT8": costs["int8_mb"]}
    told |= {f"{name}, MB": f"{size:.1f}" if size else "" for name, size in sizes.items()}
    told |= {f"{speed['runtime']}, ms a text": f"{speed['latency_ms']:.1f}" for speed in one["speeds"]}
    told |= {f"{speed['runtime']}, texts/s": f"{speed['documents_per_second']:.0f}" for speed in one["speeds"]}
    told |= {f"F1, {row['name']}": f"{row['micro_f1']:.3f}" for row in one["robustness"]}
    return told | {"training, s": f"{sum(run['seconds'] for run in one['runs']):.0f}"}


def difference(one: dict[str, Any]) -> str:
    """`+0.5 (-0.8 to +1.8)`, in points of micro-F1."""
    if not one["differences"]:
        return ""
    micro = one["differences"][0]
    delta, low, high = (100 * value for value in (micro["new_f1"] - micro["old_f1"], micro["low"], micro["high"]))
    return f"{delta:+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
