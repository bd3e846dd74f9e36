"""Train the adapter at which trainings start: python -m scripts.prefinetuning.train [OUT] [--held-out SHARE]

Trains MiniLM with the recipe of `loop retrain`, but from nothing, on the texts of `scripts.prefinetuning.marked_texts`,
and writes the weights of adapter and classifier in half precision. OUT is the file that `loop retrain` reads, unless
another path is given. --held-out keeps a share of the texts apart, prints micro-F1 on them, and writes no file. On two
cores, a training takes some minutes. Equal weights come out of equal libraries and processors only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from typing import Any

from peft import get_peft_model_state_dict

from loop.settings.model import TrainSettings, WeakSettings
from loop.training import prefinetuned
from loop.training.compute import find_compute
from loop.training.dataset import Dataset, TrainingDocument
from loop.training.dev_split import torch_reader
from loop.training.encoded import EncodedData, encode_data
from loop.training.encoder import BaseModel, load_base
from loop.training.progress import Epoch, TrainingProgress
from loop.training.start import start_from_encoder
from loop.training.trainer import reproducible
from loop.training.weak_first import learn
from ner.labels import LabelSet
from scripts.prefinetuning.marked_texts import TYPES, read_texts
from store.registry import GOLD


def main() -> None:
    """Read the arguments, train, write or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=prefinetuned.FILE)
    parser.add_argument("--held-out", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--passes", type=int, default=TrainSettings().passes, help="as train.passes of loop.toml")
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    settings = TrainSettings(prefinetuned=False, passes=given.passes, threads=given.threads)
    with reproducible(settings.seed, settings.threads):
        base, data, model = trained(settings, given.held_out)
    if given.held_out:
        with find_compute(settings).precision():
            found = data.dev.evaluate(torch_reader(model, base.tokenizer.pad_token_id))
        print(f"micro-F1 on {len(data.dev.texts)} texts held out: {found.f1:.3f}")
    else:
        prefinetuned.save(get_peft_model_state_dict(model, save_embedding_layers=False), base, settings, given.out)
        print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB, from {len(data.texts)} texts")


def trained(settings: TrainSettings, held_out: float) -> tuple[BaseModel, EncodedData, Any]:
    """Encoder, data and model of a training on the texts that are not held out."""
    labels = LabelSet(TYPES)
    base = load_base(settings.encoder, labels, settings.max_length, settings.encoder_dropout)
    documents = [
        TrainingDocument(place, one.source, one.source, one.text, one.spans) for place, one in enumerate(read_texts())
    ]
    Random(settings.seed).shuffle(documents)
    apart = round(held_out * len(documents))
    dataset = Dataset(tuple(documents[apart:]), tuple(documents[:apart]), GOLD)
    data = encode_data(dataset, base, labels, settings, WeakSettings())
    model = start_from_encoder(base, settings, len(labels.tags), data.lesson.last).model
    learn(model, data.lesson, settings, base.tokenizer.pad_token_id, EpochLog())
    return base, data, model


class EpochLog(TrainingProgress):
    """Prints each epoch."""

    def epoch(self, epoch: Epoch) -> None:
        """One line."""
        print(f"epoch {epoch.epoch} of {epoch.epochs}: {epoch.loss:.3f} nats a token", flush=True)


if __name__ == "__main__":
    main()
