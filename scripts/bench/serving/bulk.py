"""Time how fast many texts are read, tokenisation to spans: several ways side by side, in one run.

    .venv/bin/python -m scripts.bench.serving.bulk MODEL [--tree CHECKOUT] [--cores 1 2] [--rounds 5]

MODEL is a folder of transformers, as `loop export-model OUT --target transformers` writes one. All ways have its
weights and read the texts of StackOverflow, dev (LOOP_SHARED_DATA):
    this          the tagger of this checkout and the INT8 file that it serves
    a tree        the same of another checkout, such as a `git worktree` of an earlier commit (--tree), by its own file
    pipeline      the token-classification pipeline of transformers, by its defaults; reads every eighth text
    torch bf16, ONNX FP32, quantize_dynamic
                  sorted, padded batches of about 512 tokens, between this project's tokenizer and decoding
    product       no model: the largest rate at which ONNX Runtime multiplies the INT8 matrices of this encoder

Each is a process of its own, which may use that many cores and threads. They take turns, so that a busy machine is busy
for all of them; figures are medians of rounds. On one core the seconds are of the processor, on several those of the
clock, which other work disturbs. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench.serving.predict import ROOT, prepare

_READER = Path(__file__).with_name("bulk_reader.py")
THIS, PIPELINE, PRODUCT = "this", "pipeline", "product"
_WAYS = (THIS, PIPELINE, "bf16", "fp32", "dynamic", PRODUCT)
_SHOWN = {"bf16": "torch bf16", "fp32": "ONNX FP32", "dynamic": "quantize_dynamic, sorted batches"}


@dataclass(frozen=True)
class Reader:
    """A process that reads all texts each time it is asked to."""

    name: str
    process: subprocess.Popen[str]

    def ask(self) -> dict[str, float]:
        """The answer of one round: texts (or operations), seconds of the processor and of the clock."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tree", type=Path, action="append", default=[])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", nargs="+", default=[], choices=_WAYS)
    parser.add_argument("--folder", type=Path, help="where to keep what is prepared, and to find it again")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("LOOP_SHARED_DATA", ROOT.parent / "shared/data"))
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as scratch:
        measure(options.folder or Path(scratch), options)


def measure(folder: Path, options: Any) -> None:
    """A table for each number of cores."""
    texts = read_texts(options.data)
    trees = {THIS: ROOT, **{tree.name: tree.resolve() for tree in options.tree}}
    prepared = {name: prepare(tree, folder / name, texts, options) for name, tree in trees.items()}
    (folder / "texts.json").write_text(json.dumps(texts), "utf-8")
    names = [name for name in dict.fromkeys((THIS, *trees, *_WAYS)) if name not in options.without]
    print("| cores | | texts/s | times the pipeline (rounds) | share of the integer product rate |")
    print("| --- | --- | --- | --- | --- |")
    for cores in options.cores:
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        with ExitStack() as stack:
            readers = [
                stack.enter_context(reading(name, trees.get(name, ROOT), prepared.get(name, prepared[THIS]), cores))
                for name in names
            ]
            for reader in readers:
                reader.ask()
            for _ in range(options.rounds):
                for reader in readers:
                    rounds[reader.name].append(reader.ask())
        report(cores, rounds)


@contextmanager
def reading(name: str, tree: Path, prepared: Path, cores: int) -> Iterator[Reader]:
    """The process of one way to read, from its start to the end of the block."""
    command = [sys.executable, str(_READER), name if name in _WAYS else THIS, str(prepared), str(cores)]
    path = str(tree) if name in (THIS, tree.name) else str(ROOT)
    environ = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(cores), "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=tree
    ) as process:
        yield Reader(name, process)
        assert process.stdin is not None
        process.stdin.close()


def read_texts(data: Path) -> list[str]:
    """The sentences of dev that are not blank, in the file's order."""
    with (data / "stackoverflow-ner" / "dev.jsonl").open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [text for text in texts if text.strip()]


def report(cores: int, rounds: dict[str, list[dict[str, float]]]) -> None:
    """A row for each way to read; ratios are taken round by round."""
    clock = "cpu" if cores == 1 else "wall"
    rates = {name: [one["done"] / one[clock] for one in several] for name, several in rounds.items()}
    operations = rounds[THIS][0]["operations"]
    for name, rate in rates.items():
        if name == PRODUCT:
            print(f"| {cores} | integer products alone: {statistics.median(rate) / 1e12:.3f} TOP/s | | | |", flush=True)
            continue
        times = spread([one / other for one, other in zip(rate, rates.get(PIPELINE, rate), strict=True)])
        share = ""
        if name not in (PIPELINE, "bf16", "fp32") and PRODUCT in rates:
            shares = [operations * one / other for one, other in zip(rate, rates[PRODUCT], strict=True)]
            share = f"{100 * statistics.median(shares):.0f} %"
        print(
            f"| {cores} | {_SHOWN.get(name, name)} | {statistics.median(rate):,.0f} | {times} | {share} |", flush=True
        )


def spread(ratios: Sequence[float]) -> str:
    ordered = sorted(ratios)
    return f"**{statistics.median(ordered):.1f}** ({ordered[0]:.1f}-{ordered[-1]:.1f})"


if __name__ == "__main__":
    main()
