"""The student of a study: half of the layers of a trained model, taught by this model's soft labels and by the gold.

Distillation by soft labels is that of Hinton et al. 2015. The student starts from layers of its teacher, as DistilBERT
does (Sanh et al. 2019): from the first to the last in even steps, so that both ends of the teacher stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from loop.training.batches import FramedWindow
from loop.training.dev_split import torch_reader
from ner.arrays import FloatArray, Logits
from ner.decoding import log_softmax
from ner.errors import ConfigError

# How much the gold counts in what a student learns of a labelled text; the teacher's soft labels have the rest.
GOLD_SHARE = 0.5
_ANOTHER = "Leave `distilled` out of --variants, or study a BERT, DistilBERT or RoBERTa model of two layers or more."


def halved(model: Any) -> Any:
    """A copy of a trained token classifier with half of its encoder's layers, rounded down; the model stays as it is.

    Raises ConfigError for an encoder whose layers are not a list of at least two.
    """
    check_halves(model)
    student = deepcopy(model)
    name = _layers_name(student)
    layers = student.get_submodule(name)
    kept = kept_layers(len(layers))
    student.set_submodule(name, torch.nn.ModuleList(layers[place] for place in kept))
    student.config.num_hidden_layers = len(kept)
    return student


def check_halves(model: Any) -> None:
    """Raise ConfigError unless `halved` can make a student of the model."""
    number = layers_of(model)
    if number is None:
        raise ConfigError(
            "a student takes half of an encoder's layers, which stand in one list",
            value=f"{type(model).__name__} has no such list, or shares the weights of its layers",
            next_step=_ANOTHER,
        )
    if number < 2:
        raise ConfigError("an encoder that is halved has at least two layers", value=number, next_step=_ANOTHER)


def layers_of(model: Any) -> int | None:
    """How many layers the encoder has; None where they do not stand in one list."""
    name = _layers_name(model)
    return None if name is None else len(model.get_submodule(name))


def kept_layers(number: int) -> tuple[int, ...]:
    """Which of `number` layers a student keeps: 0, 2, 5 of six and 0, 2, 4, 7, 9, 11 of twelve."""
    return tuple(round(place) for place in np.linspace(0, number - 1, number // 2).tolist())


def soft_windows(
    teacher: Any, windows: Sequence[FramedWindow], padding_id: int, gold_share: float = GOLD_SHARE
) -> list[FramedWindow]:
    """The windows with what a student learns of each token: the gold to `gold_share`, else what the teacher says.

    Their mentions stay as they are: the teacher has said nothing of others.
    """
    logits = torch_reader(teacher, padding_id)(windows)
    return [
        replace(window, soft=_soft(window, rows, gold_share), mentions=())
        for window, rows in zip(windows, logits, strict=True)
    ]


def _soft(window: FramedWindow, logits: Logits, gold_share: float) -> FloatArray:
    """(m, num_tags). Rows of tokens that are not learned mean nothing."""
    gold: FloatArray = np.eye(logits.shape[1])[np.maximum(window.tags, 0)]
    return gold_share * gold + (1 - gold_share) * np.exp(log_softmax(logits))


def _layers_name(model: Any) -> str | None:
    """The name of the one list that holds as many layers of one kind as the configuration says."""
    inside, number = f"{model.base_model_prefix}.", getattr(model.config, "num_hidden_layers", None)
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList)
        and name.startswith(inside)
        and len(module) == number
        and len({type(layer) for layer in module}) == 1
    ]
    return found[0] if len(found) == 1 else None
