"""Ways to go on from a model when gold grows: python -m scripts.bench.warm_starts RESULTS.jsonl [--fast]

Draws 500 sentences of each of three corpora and trains on them from the encoder. Then the gold grows by 5 % at a time.
After the first growth, every way goes on from the first model; the ways under --chain go on and on, each time from
their own last model. A training from the encoder on the same sentences stands beside the first and the last growth.
All models are scored in torch on 600 sentences of the corpus's dev split, the same
for all; the test splits are never read. A draw depends on set
and seed alone. Times are of the processor, on one thread: run it with OMP_NUM_THREADS=1.

Each draw adds a line to RESULTS.jsonl, and the script passes over what stands there: it can be stopped and started
again. At the end it prints a Markdown table. --fast takes one seed and 200 sentences.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from statistics import mean, stdev
from typing import Any

import torch
from transformers.modeling_outputs import TokenClassifierOutput

from loop.settings.model import TrainSettings, WeakSettings
from loop.training import lora
from loop.training.batches import FramedWindow, collate, frame
from loop.training.dataset import Dataset
from loop.training.dev_split import torch_reader
from loop.training.encoded import encode_data
from loop.training.encoder import load_base
from loop.training.progress import TrainingProgress
from loop.training.start import start_from_encoder
from loop.training.trainer import Plan, make_plan, reproducible, train
from loop.training.warm_start import replayed
from ner.labels import LabelSet
from scripts.bench.weak.training import documents
from scripts.bench_recipe import SETS, Record, drawn, lines, records
from store.registry import GOLD

SIZES, SEEDS, GROWTH, GROWTHS = (500,), (1, 2, 3), 0.05, 4
DEV = 600


@dataclass(frozen=True)
class _Trained:
    """A model, and the CPU seconds that its training took."""

    model: Any
    seconds: float


@dataclass(frozen=True)
class Way:
    """How a training goes on. rate: of AdamW. share: of the passes of a training from the encoder. replay: a tenth of
    its windows in place of passes, the new ones most often, as `loop retrain`. shrink: what the trained weights are
    multiplied by before, with a tenth of new random weights on top (Ash and Adams 2020). frozen: lower layers that are
    not trained, and are computed once."""

    rate: float
    share: float = 0.2
    replay: bool = False
    shrink: float | None = None
    frozen: int = 0


NOTHING, SCRATCH = "no training", "from the encoder"
WAYS = {
    "all gold, 1e-3": Way(1e-3),
    "all gold, 5e-4": Way(5e-4),
    "all gold, 2e-4": Way(2e-4),
    "replay, 5e-4": Way(5e-4, replay=True),
    "replay, 2e-4": Way(2e-4, replay=True),
    "shrink by .9, perturb, 5e-4": Way(5e-4, shrink=0.9),
    "3 of 6 layers frozen, 5e-4": Way(5e-4, 0.35, frozen=3),
}


def main() -> None:
    """Read the arguments, run what is not in the file yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--chain", nargs="*", default=["all gold, 5e-4"], choices=WAYS, help="ways that go on and on")
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    sizes, seeds = ((200,), (1,)) if given.fast else (given.sizes, given.seeds)
    done = {(line["set"], line["size"], line["seed"]) for line in lines(given.results)}
    for seed, size, name in product(seeds, sizes, given.sets):
        if (name, size, seed) not in done:
            found = _Draw(name, size, seed).measured(given.ways, given.chain)
            with given.results.open("a") as file:
                file.write(json.dumps({"set": name, "size": size, "seed": seed, "found": found}) + "\n")
    print_tables(lines(given.results))


class _Draw:
    """The sentences of one corpus in the order of one seed."""

    def __init__(self, name: str, size: int, seed: int) -> None:
        self.settings = TrainSettings(seed=seed, threads=1)
        self.sizes = [round(size * (1 + GROWTH) ** growth) for growth in range(GROWTHS + 1)]
        sentences, dev = drawn(name, self.sizes[-1], seed), Random(0).sample(records(name, "dev"), DEV)
        self.labels = LabelSet(tuple(sorted({span["label"] for one in (*dev, *sentences) for span in one["spans"]})))
        dropout = self.settings.encoder_dropout
        self.base = load_base(self.settings.encoder, self.labels, self.settings.max_length, dropout)
        self.padding_id: int = self.base.tokenizer.pad_token_id or 0
        dataset = Dataset(documents(sentences, 0), documents(dev, 10**6), GOLD)
        self.data = encode_data(dataset, self.base, self.labels, self.settings, WeakSettings())

    def measured(self, ways: Sequence[str], chain: Sequence[str]) -> list[Record]:
        """A record for each training: what it was, its growth (0 before any), F1 on dev, and CPU seconds."""
        found: list[Record] = []

        def note(what: str, growth: int, trained: _Trained) -> _Trained:
            f1 = self.data.dev.evaluate(torch_reader(trained.model, self.padding_id)).f1
            found.append({"what": what, "growth": growth, "f1": round(f1, 4), "seconds": round(trained.seconds, 1)})
            print(found[-1], flush=True)
            return trained

        first = note(SCRATCH, 0, self.from_encoder(0))
        note(NOTHING, 1, replace(first, seconds=0.0))
        note(SCRATCH, 1, self.from_encoder(1))
        after = {name: note(name, 1, self.on_from(first, WAYS[name], 1)) for name in ways}
        if chain:
            note(NOTHING, GROWTHS, replace(first, seconds=0.0))
            note(SCRATCH, GROWTHS, self.from_encoder(GROWTHS))
        for name, growth in product(chain, range(2, GROWTHS + 1)):
            after[name] = note(name, growth, self.on_from(after[name], WAYS[name], growth))
        return found

    def from_encoder(self, growth: int) -> _Trained:
        """The whole recipe on the sentences that there are after this growth."""
        windows = self.windows(growth)
        with reproducible(self.settings.seed, 1):
            base = replace(self.base, model=copy.deepcopy(self.base.model))
            start = start_from_encoder(base, self.settings, len(self.labels.tags), windows)
            return self.trained(start.model, windows, make_plan(len(windows), start.settings, warm=False))

    def on_from(self, before: _Trained, way: Way, growth: int) -> _Trained:
        """From the model before, with the sentences that this growth added."""
        windows, old = self.windows(growth), len(self.windows(growth - 1))
        whole = make_plan(len(windows), self.settings, warm=False)
        with reproducible(self.settings.seed + growth, 1):
            model = self.attached()
            shrink = 1.0 if way.shrink is None else way.shrink
            with torch.no_grad():
                for drawn_now, known in zip(trained_weights(model), trained_weights(before.model), strict=True):
                    noise = 0.1 * drawn_now if way.shrink is not None else 0.0
                    drawn_now.copy_(shrink * known + noise)
            if not way.replay:
                plan = replace(whole, epochs=max(1, round(way.share * whole.epochs)), learning_rate=way.rate)
            else:
                settings = self.settings.changed(warm_learning_rate=way.rate)
                windows, plan = replayed(windows[:old], windows[old:], settings)
            return self.trained(model, windows, plan, way.frozen)

    def trained(self, model: Any, windows: Sequence[FramedWindow], plan: Plan, frozen: int = 0) -> _Trained:
        """The model after the plan, with the CPU seconds of its steps."""
        began = time.process_time()
        trains = _UpperLayers(model, frozen, windows, self.padding_id) if frozen else model
        train(trains, windows, plan, self.settings, self.padding_id, TrainingProgress())
        return _Trained(model, time.process_time() - began)

    def attached(self) -> Any:
        """The encoder with a new adapter."""
        base = replace(self.base, model=copy.deepcopy(self.base.model))
        return lora.attach(base, self.settings, len(self.labels.tags))

    def windows(self, growth: int) -> tuple[FramedWindow, ...]:
        """Those of the sentences that there are after this growth, the oldest first."""
        texts = self.data.texts[: self.sizes[growth]]
        framed = (window for text in texts for window in frame(text, self.base.text_encoder))
        return tuple(window for window in framed if (window.tags >= 0).any())


def trained_weights(model: Any) -> list[Any]:
    """Adapter and classifier of a model, in an order that is the same for all of its kind."""
    return [weight for name, weight in sorted(model.named_parameters()) if "lora_" in name or "modules_to_save" in name]


class _UpperLayers(torch.nn.Module):  # type: ignore[misc]
    """A BERT whose embeddings and lower layers are not trained. What these give for each window is computed once.

    It reads windows as the whole model does, and finds what the lower layers gave by the ids of the window.
    """

    def __init__(self, model: Any, frozen: int, windows: Sequence[FramedWindow], padding_id: int) -> None:
        super().__init__()
        inner = model.base_model.model
        for lower in (inner.bert.embeddings, *inner.bert.encoder.layer[:frozen]):
            lower.requires_grad_(False)
        self.upper, self.dropout = inner.bert.encoder.layer[frozen:], inner.dropout
        self.classifier, self.width = inner.classifier, inner.config.hidden_size
        self.known: dict[tuple[int, ...], Any] = {}
        model.eval()
        order = sorted(windows, key=lambda window: len(window.ids))
        for start in range(0, len(order), 64):
            chunk = order[start : start + 64]
            ids, mask, _ = collate(chunk, padding_id)
            with torch.no_grad():
                states = inner.bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[frozen]
            self.known |= {
                tuple(window.ids.tolist()): rows[: len(window.ids)].clone()
                for window, rows in zip(chunk, states, strict=True)
            }

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        hidden = torch.zeros((*input_ids.shape, self.width))
        for row, (ids, length) in enumerate(zip(input_ids.tolist(), attention_mask.sum(1).tolist(), strict=True)):
            hidden[row, :length] = self.known[tuple(ids[:length])]
        seen = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for layer in self.upper:
            given = layer(hidden, seen)
            hidden = given[0] if isinstance(given, tuple) else given
        return TokenClassifierOutput(logits=self.classifier(self.dropout(hidden)))


def print_tables(measured: Sequence[Mapping[str, Any]]) -> None:
    """A row for each size, growth and way: its F1 less that of a training from the encoder, over all draws."""
    print("| sentences | trained | F1 | F1 less from the encoder (by set; standard error) | CPU s | share of CPU |")
    print("| --- " * 6 + "|")
    for size, growth in product(sorted({line["size"] for line in measured}), (1, GROWTHS)):
        rows = [(line["set"], by_what(line["found"], growth)) for line in measured if line["size"] == size]
        for what in dict.fromkeys(what for _, found in rows for what in found):
            pairs = [(name, found[what], found[SCRATCH]) for name, found in rows if what in found]
            gaps = [100 * (one["f1"] - whole["f1"]) for _, one, whole in pairs]
            by_set = {
                name: mean(gap for gap, pair in zip(gaps, pairs, strict=True) if pair[0] == name)
                for name in SETS
                if any(pair[0] == name for pair in pairs)
            }
            spread = f"; {stdev(gaps) / len(gaps) ** 0.5:.2f}" if len(gaps) > 1 else ""
            singles = ", ".join(f"{gap:+.1f}" for gap in by_set.values())
            took, whole = (mean(pair[side]["seconds"] for pair in pairs) for side in (1, 2))
            print(
                f"| {size} + {growth} x 5 % | {what} | {mean(pair[1]['f1'] for pair in pairs):.3f} "
                f"| **{mean(gaps):+.2f}** ({singles}{spread}) | {took:.0f} | {took / whole:.2f} |"
            )


def by_what(found: Sequence[Record], growth: int) -> dict[str, Record]:
    """The trainings of one growth, by what they were."""
    return {one["what"]: one for one in found if one["growth"] == growth}


if __name__ == "__main__":
    main()
