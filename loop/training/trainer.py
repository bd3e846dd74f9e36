"""The training itself: AdamW with a linear rise and fall, an average of the weights, early stopping."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loop.settings.model import TrainSettings
from loop.training.batches import IGNORED, FramedWindow, collate, shuffled_batches
from loop.training.dev_split import DevEvaluation, EvaluationTexts, torch_reader
from loop.training.lora import trainable
from loop.training.progress import Epoch, TrainingError, TrainingProgress, TrainingStep

_CLIP = 1.0
_SMALLEST_BATCH = 4
_STEPS_PER_PASS = 16
_TRY = "Lower train.learning_rate, train longer (epochs, min_steps), label more, or train with --from-scratch."


@dataclass(frozen=True, slots=True)
class Plan:
    """How many steps of which size: an epoch is `passes` over the data."""

    epochs: int
    passes: int
    batch_size: int
    steps_per_epoch: int
    learning_rate: float

    @property
    def steps(self) -> int:
        """Optimiser steps when it does not stop early."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A training that ended well; the model has the weights of `best_epoch`.

    evaluated: what those weights make of the development split.
    """

    epochs: int
    best_epoch: int
    steps: int
    loss: float
    evaluated: DevEvaluation
    seconds: float


def make_plan(num_windows: int, settings: TrainSettings, warm: bool) -> Plan:
    """Little data gets smaller batches and several passes an epoch, so that there are steps enough to learn by.

    A warm start runs for `warm_epochs` at `warm_learning_rate`, and needs half of `min_steps`.
    """
    smaller = 2 ** int(math.log2(max(1, num_windows / _STEPS_PER_PASS)))
    batch_size = min(settings.batch_size, max(_SMALLEST_BATCH, smaller))
    steps_per_pass = math.ceil(num_windows / batch_size)
    epochs = settings.warm_epochs if warm else settings.epochs
    least = settings.min_steps // 2 if warm else settings.min_steps
    passes = max(1, math.ceil(least / (epochs * steps_per_pass)))
    rate = settings.warm_learning_rate if warm else settings.learning_rate
    return Plan(epochs, passes, batch_size, passes * steps_per_pass, rate)


def train(
    model: Any,
    windows: Sequence[FramedWindow],
    dev: EvaluationTexts,
    plan: Plan,
    settings: TrainSettings,
    padding_id: int,
    progress: TrainingProgress,
) -> Outcome:
    """Train what is trainable in `model`, and leave it with the averaged weights of the best epoch.

    Best: highest micro-F1 on the development split, then lowest loss there. Raises TrainingError when the loss is not
    finite. Whether the model finds anything at all is `check_finds`'s question.
    """
    trainer = _Trainer(model, plan, settings)
    best: tuple[tuple[float, float], int, dict[str, Any], DevEvaluation] | None = None
    epoch, loss = 0, 0.0
    for epoch in range(1, plan.epochs + 1):
        loss = trainer.run_epoch(epoch, windows, padding_id, progress)
        with trainer.averaged():
            evaluated = dev.evaluate(torch_reader(model, padding_id))
            key = (evaluated.f1, -evaluated.loss)
            better = best is None or key > best[0]
            if better:
                best = key, epoch, trainer.copy_weights(), evaluated
        progress.epoch(Epoch(epoch, plan.epochs, loss, evaluated.loss, evaluated.f1, better))
        # While nothing is found yet there is nothing to be patient about.
        if best is not None and best[0][0] > 0 and epoch - best[1] >= settings.patience:
            break
    if best is None:
        raise AssertionError("a plan has at least one epoch")
    trainer.put_weights(best[2])
    return Outcome(epoch, best[1], trainer.done, loss, best[3], trainer.seconds)


def check_finds(model: Any, texts: EvaluationTexts, padding_id: int) -> None:
    """Raise TrainingError when the model predicts not one entity in texts that hold some."""
    predicted = texts.evaluate(torch_reader(model, padding_id)).predicted
    if texts.entities and not predicted:
        raise TrainingError(
            "a model predicts an entity in texts that hold some",
            value=f"0 predicted, {texts.entities} gold in {len(texts.texts)} texts",
            next_step=_TRY,
        )


def computes_bfloat16() -> bool:
    """Whether this processor multiplies matrices in bfloat16 (Linux's names); emulated it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Torch seeded, and on `threads` threads (0: every core this process may use), inside; as before outside.

    The same data, seed, settings and number of threads on the same machine give the same weights.
    """
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        try:
            yield
        finally:
            torch.set_num_threads(before)


class _Trainer:
    """Optimiser, schedule and running average of one training; `done` counts its steps."""

    def __init__(self, model: Any, plan: Plan, settings: TrainSettings) -> None:
        self._model = model
        self._plan = plan
        self._settings = settings
        self._weights = trainable(model)
        self._average = self.copy_weights()
        self._optimiser = torch.optim.AdamW(
            self._weights.values(),
            lr=plan.learning_rate,
            betas=(0.9, settings.beta2),
            weight_decay=settings.weight_decay,
        )
        self._random = np.random.default_rng(settings.seed)
        wanted = settings.precision == "bfloat16" or (settings.precision == "auto" and computes_bfloat16())
        self._bfloat16 = wanted
        self._began = time.monotonic()
        self.done = 0

    @property
    def seconds(self) -> float:
        """Since the training began."""
        return time.monotonic() - self._began

    def run_epoch(
        self, epoch: int, windows: Sequence[FramedWindow], padding_id: int, progress: TrainingProgress
    ) -> float:
        """All passes of one epoch; gives the mean loss."""
        self._model.train()
        lengths = [len(window.ids) for window in windows]
        losses = []
        for _ in range(self._plan.passes):
            for batch in shuffled_batches(lengths, self._plan.batch_size, self._random):
                loss = self._step(*collate([windows[index] for index in batch.tolist()], padding_id))
                losses.append(loss)
                steps = self._plan.steps
                left = self.seconds / self.done * (steps - self.done)
                progress.step(TrainingStep(epoch, self._plan.epochs, self.done, steps, loss, left))
        return float(np.mean(losses))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with the averaged weights inside, with its own again afterwards."""
        own = self.copy_weights()
        self.put_weights(self._average)
        try:
            yield
        finally:
            self.put_weights(own)

    def copy_weights(self) -> dict[str, Any]:
        """The trainable weights as they are now."""
        return {name: parameter.detach().clone() for name, parameter in self._weights.items()}

    def put_weights(self, weights: dict[str, Any]) -> None:
        """Put them back."""
        with torch.no_grad():
            for name, parameter in self._weights.items():
                parameter.copy_(weights[name])

    def _step(self, ids: Any, mask: Any, tags: Any) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate()
        with self._precision():
            logits = self._model(input_ids=ids, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tags.flatten(), ignore_index=IGNORED)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError("a training's loss is finite", value=f"{value} at step {self.done + 1}", next_step=_TRY)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights.values(), _CLIP)
        self._optimiser.step()
        self.done += 1
        self._update_average()
        return value

    def _rate(self) -> float:
        """Linear from 0 to the plan's rate over the warm-up, then linear to 0 at the last step."""
        steps = self._plan.steps
        warmup = max(1, round(self._settings.warmup_share * steps))
        share = min((self.done + 1) / warmup, (steps - self.done) / max(1, steps - warmup), 1.0)
        return self._plan.learning_rate * share

    def _update_average(self) -> None:
        """Exponential, with a shorter memory at the start, where the weights still move fast."""
        decay = min(self._settings.averaging, (1 + self.done) / (10 + self.done)) if self._settings.averaging else 0.0
        with torch.no_grad():
            for name, parameter in self._weights.items():
                self._average[name].lerp_(parameter, 1 - decay)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self._bfloat16 else nullcontext()
