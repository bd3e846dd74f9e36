"""What a long text takes: python -m scripts.bench.serving.long_texts MODEL

MODEL is the folder of a bundle, such as HOME/models/NAME/NAME-0001. Texts of 3,000 characters and up are made of the
sentences of StackOverflow's train (LOOP_SHARED_DATA). Each is read by a process of its own, on one thread. Prints a
Markdown table: seconds of the processor, and by how much the process grew from before the text to its peak.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from scripts.bench.serving.predict import ROOT

SIZES = (3_000, 30_000, 300_000, 1_000_000, 3_000_000)
_DATA = Path(os.environ.get("LOOP_SHARED_DATA", ROOT.parent / "shared/data"))


def main() -> None:
    if len(sys.argv) == 3:
        read(Path(sys.argv[1]), int(sys.argv[2]))
        return
    print("| characters | CPU s | CPU ms a 1,000 characters | more memory at the peak, MB | spans |")
    print("| --- | --- | --- | --- | --- |")
    for size in SIZES:
        command = [sys.executable, "-m", "scripts.bench.serving.long_texts", sys.argv[1], str(size)]
        subprocess.run(command, check=True, cwd=ROOT)


def read(model: Path, size: int) -> None:
    """Print the row of one size."""
    from ner.errors import InputError
    from ner.models.bundle import load_bundle
    from ner.tagger import Tagger

    tagger = Tagger(load_bundle(model))
    text = text_of(size)
    tagger.tag(text[:2_000])
    before, began = peak(), time.process_time()
    try:
        found = tagger.tag(text)
    except InputError as error:
        print(f"| {size:,} | refused: {error.rule} | | | |", flush=True)
        return
    seconds = time.process_time() - began
    grown = peak() - before
    print(
        f"| {size:,} | {seconds:.2f} | {1e6 * seconds / size:.2f} | {grown:,.0f} | {len(found.spans):,} |", flush=True
    )


def text_of(size: int) -> str:
    """Sentences, again and again, up to this number of characters."""
    with (_DATA / "stackoverflow-ner" / "train.jsonl").open(encoding="utf-8") as lines:
        text = " ".join(json.loads(line)["text"] for line in lines)
    return (text * (size // len(text) + 1))[:size]


def peak() -> float:
    """MB that the process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
