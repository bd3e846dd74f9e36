"""What breaks at joints between tokens should cost: python -m scripts.bench.joints BUNDLE --set NAME

Scores a served file on a corpus's dev split, as `loop evaluate` would, with other costs of the three kinds of joints
than the bundle has (`ner.decoding`). The corpora put a blank before each comma, and people do not. So dev is scored as
it is, and with the blanks before and after punctuation taken away where no entity has them. The test splits are never
read. Prints a Markdown table of micro-F1.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from loop.settings.model import TrainSettings
from loop.training.batches import FramedWindow
from loop.training.dev_split import EvaluationTexts
from loop.training.encoder import MINILM, load_base
from ner.arrays import Logits
from ner.decoding import INSIDE, PUNCTUATION, WORD
from ner.models.bundle import Bundle, load_bundle
from scripts.bench.recipe_ways import encoded
from scripts.bench_recipe import SETS, Record, records

COSTS = ("4,4,4", "4,8,8", "4,12,12", "8,8,8", "12,12,12")
# The blank before a closing mark and the one after an opening mark.
LOOSE = re.compile(r" (?=[,.?!:;)](?:\s|$))|(?<=\() ")


def main() -> None:
    """Read the arguments, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--costs", nargs="*", default=COSTS, metavar="NATS,NATS,NATS", help="at edges, inside, words")
    given = parser.parse_args()
    bundle, dev = load_bundle(given.bundle), records(given.set, "dev")
    print("| dev | " + " | ".join(given.costs) + " |")
    print("| --- " * (len(given.costs) + 1) + "|")
    for name, texts in (("as it is", dev), ("marks without blanks", [natural(record) for record in dev])):
        scores = f1_by_costs(bundle, texts, given.costs)
        print(f"| {name} | " + " | ".join(f"{100 * f1:.2f}" for f1 in scores) + " |")


def f1_by_costs(bundle: Bundle, found: Sequence[Record], costs: Sequence[str]) -> list[float]:
    """Micro-F1 with each of the costs; every window is read once."""
    base = load_base(MINILM, bundle.labels, bundle.manifest.max_length, 0.0)
    texts = encoded(found, base, bundle.labels, TrainSettings(max_length=bundle.manifest.max_length))
    dev = EvaluationTexts(texts, bundle.encoder, bundle.labels, {})

    def read(windows: Sequence[FramedWindow]) -> list[Logits]:
        return [bundle.network.logits(window.ids.tolist()) for window in windows]

    logits = read(dev.windows())
    asked = [dict(zip((PUNCTUATION, INSIDE, WORD), map(float, one.split(",")), strict=True)) for one in costs]
    return [replace(dev, break_costs=one).evaluate(lambda _: logits).f1 for one in asked]


def natural(record: Record) -> Record:
    """The sentence with its marks next to their words."""
    text, spans = record["text"], record["spans"]
    kept = np.ones(len(text), dtype=np.bool_)
    for blank in LOOSE.finditer(text):
        kept[blank.start()] = any(span["start"] <= blank.start() < span["end"] for span in spans)
    place = np.concatenate([[0], np.cumsum(kept)]).tolist()
    moved = [span | {"start": place[span["start"]], "end": place[span["end"]]} for span in spans]
    return record | {"text": "".join(np.array(list(text))[kept]), "spans": moved}


if __name__ == "__main__":
    main()
