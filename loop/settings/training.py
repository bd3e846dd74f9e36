"""`[train]` of loop.toml: how an adapter is trained. The defaults are the recipe measured in BENCHMARKS.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from ner.errors import ConfigError


@dataclass(frozen=True)
class TrainSettings:
    """Everything that, with the data and the base encoder, decides what a training makes.

    encoder: "minilm" (carried by a package, nothing is downloaded), or any name or folder that transformers loads.
    max_length: tokens of a window, special ones included; longer texts are read by overlapping windows.
    rank, alpha, dropout: of the LoRA adapter (Hu et al. 2021), on every linear layer of the encoder. Its dropout costs
    a quarter more time than 0 does; encoder_dropout, within the encoder's own layers, a tenth.
    learning_rate, weight_decay, beta2: of AdamW; the rate rises over the first `warmup_share` of the steps and then
    falls to 0, linearly.
    batch_size: windows per step; small data sets use smaller ones. epochs: passes over the data, at most; training
    stops after `patience` epochs without a better F1 on the development split. min_steps: with little data an epoch is
    several passes, so that a full training has at least that many steps.
    averaging: decay of the running average of the weights that is evaluated and exported (Polyak & Juditsky 1992);
    0 keeps the last weights instead.
    warm_epochs, warm_learning_rate: used in place of epochs and learning_rate when training goes on from an adapter.
    dev_share: of the training documents' groups, held back for early stopping.
    threads: of torch; 0 takes every core this process may use. precision: "auto" takes bfloat16 only where the
    processor computes in it (elsewhere it is three times slower than float32).
    """

    encoder: str = "minilm"
    max_length: int = 128
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    encoder_dropout: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    beta2: float = 0.98
    warmup_share: float = 0.1
    batch_size: int = 32
    epochs: int = 4
    patience: int = 2
    min_steps: int = 200
    averaging: float = 0.998
    warm_epochs: int = 3
    warm_learning_rate: float = 5e-4
    dev_share: float = 0.1
    seed: int = 13
    threads: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            rule, holds = _rule(name, getattr(self, name))
            if not holds:
                raise ConfigError(
                    f"train.{name} is {rule}",
                    value=getattr(self, name),
                    next_step=f"Correct {name} under [train] in loop.toml.",
                )


_LEAST = {
    **dict.fromkeys(("rank", "alpha", "batch_size", "epochs", "patience", "warm_epochs"), 1),
    "min_steps": 0,
    "max_length": 8,
}
_FRACTIONS = ("dropout", "encoder_dropout", "beta2", "warmup_share", "averaging")
# What every library that draws numbers takes.
_LARGEST_SEED = 2**32 - 1
_MOST_THREADS = 1024
_POSITIVE = ("learning_rate", "warm_learning_rate")


def _rule(name: str, value: Any) -> tuple[str, bool]:
    """(what the value must be, whether it is)."""
    if name in _LEAST:
        return f"at least {_LEAST[name]}", value >= _LEAST[name]
    if name in _FRACTIONS:
        return "in 0..1, 1 excluded", 0 <= value < 1
    if name in _POSITIVE:
        return "above 0 and finite", 0 < value < math.inf
    if name == "weight_decay":
        return "at least 0 and finite", 0 <= value < math.inf
    if name == "threads":
        return f"in 0..{_MOST_THREADS}", 0 <= value <= _MOST_THREADS
    if name == "seed":
        return f"in 0..{_LARGEST_SEED}", 0 <= value <= _LARGEST_SEED
    if name == "dev_share":
        return "between 0 and 0.5, ends excluded", 0 < value < 0.5
    return "not empty", bool(value.strip())
