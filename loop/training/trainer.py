"""The training itself: AdamW with a linear rise and fall of the rate, and an average of the weights."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from loop.settings.model import TrainSettings
from loop.training.batches import IGNORED, FramedWindow, collate, outside_tags, shuffled_batches, soft_targets
from loop.training.compute import Compute, find_compute
from loop.training.dev_split import EvaluationTexts, torch_reader
from loop.training.lora import trainable
from loop.training.mentions import Mentions
from loop.training.progress import Epoch, TrainingError, TrainingProgress, TrainingStep

_CLIP = 1.0
# Below FEW_WINDOWS, whole entity types are not learned without more epochs. Above MANY_WINDOWS, more epochs learn the
# texts by heart, and find no more in others; with less than the share FEWEST_EPOCHS, rare types are not learned.
FEW_WINDOWS, MANY_WINDOWS = 250, 700
FEWEST_EPOCHS = 0.2
# Up to LARGE_FROM windows, a step has at most SMALL_BATCH of them: there would be too few steps.
LARGE_FROM, SMALL_BATCH = 1000, 16
# F1 on texts that were learned: a sound training is far above it, a collapsed one far below.
LEAST_LEARNED = 0.5
_TRY = "Lower the learning rates under [train], raise train.passes, label more, or train with --from-scratch."


@dataclass(frozen=True, slots=True)
class Plan:
    """How many optimiser steps of which size. An epoch is one pass over the windows.

    head_learning_rate: of the classifier where the encoder itself is trained, which bears less; None for one rate.
    """

    epochs: int
    batch_size: int
    steps_per_epoch: int
    learning_rate: float
    head_learning_rate: float | None = None

    @property
    def steps(self) -> int:
        """The optimiser steps of the whole training."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class Outcome:
    """A training that ended. batch_size: windows of a step. learning_rate: the highest one. loss: the mean of the last
    epoch, in nats a token. seconds: how long the steps took. first_steps: those on weak labels before the gold."""

    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    loss: float
    seconds: float
    first_steps: int = 0


def make_plan(num_windows: int, settings: TrainSettings, warm: bool) -> Plan:
    """The length of a training follows its data, not a score on a few documents.

    From FEW_WINDOWS to MANY_WINDOWS, the plan has `settings.passes` epochs. More windows get fewer epochs, in
    proportion, at least the share FEWEST_EPOCHS; fewer windows get more, by the root, so that a quarter of the windows
    has half of the steps. Up to LARGE_FROM windows, a step has at most SMALL_BATCH. A warm start has another learning
    rate.
    """
    more, less = math.sqrt(FEW_WINDOWS / num_windows), max(FEWEST_EPOCHS, MANY_WINDOWS / num_windows)
    epochs = max(1, round(settings.passes * (more if more > 1 else min(1.0, less))))
    batch_size = settings.batch_size if num_windows > LARGE_FROM else min(SMALL_BATCH, settings.batch_size)
    rate = settings.warm_learning_rate if warm else settings.learning_rate
    return Plan(epochs, batch_size, math.ceil(num_windows / batch_size), rate)


def train(
    model: Any,
    windows: Sequence[FramedWindow],
    plan: Plan,
    settings: TrainSettings,
    padding_id: int,
    progress: TrainingProgress,
) -> Outcome:
    """Train what is trainable in `model`, and leave the model with the average of its weights.

    Nothing stops a training early, and no epoch is chosen: the rate has fallen to 0 at the last step, and a choice by
    a small development split is a choice by chance. The steps are computed where `compute.find_compute` says; the model
    comes back to the processor. Raises TrainingError when the loss is not finite, and where there is no such device.
    `check_learned` says whether the model has learned anything.
    """
    compute = find_compute(settings)
    model.to(compute.device)
    try:
        trainer = _Trainer(model, plan, settings, compute)
        mentions = Mentions(windows, settings.other_mentions)
        loss = 0.0
        for epoch in range(1, plan.epochs + 1):
            loss = trainer.run_epoch(epoch, windows, mentions, padding_id, progress)
            progress.epoch(Epoch(epoch, plan.epochs, loss))
        trainer.take_average()
    finally:
        model.to("cpu")
    return Outcome(plan.epochs, trainer.done, plan.batch_size, plan.learning_rate, loss, round(trainer.seconds, 1))


def check_learned(model: Any, texts: EvaluationTexts, padding_id: int) -> Iterator[str]:
    """A notice where a model hardly finds what it was trained on; nothing where the model has learned its texts.

    texts: some of those that the model was trained on. Raises TrainingError when the model predicts not one entity in
    texts that hold some.
    """
    evaluated = texts.evaluate(torch_reader(model, padding_id))
    if texts.entities and not evaluated.predicted:
        raise TrainingError(
            "a model predicts an entity in texts that hold some",
            value=f"0 predicted, {texts.entities} gold in {len(texts.texts)} texts",
            next_step=_TRY,
        )
    if evaluated.f1 < LEAST_LEARNED:
        found = f"F1 {evaluated.f1:.3f} on {len(texts.texts)} texts"
        yield f"the model hardly finds what it was trained on: {found}. {_TRY}"


def cross_entropy(logits: Any, tags: Any, soft: Any | None, outside: Any | None = None) -> Any:
    """The mean over the tokens whose tag is not IGNORED, in nats.

    logits: (batch, width, num_tags). tags: (batch, width). soft: (batch, width, num_tags) shares to learn in place of
    the tags, or None. outside: (batch, num_tags) as `outside_tags` gives it: O then stands for all of these tags, and
    its probability is their sum, or None. What a text was not annotated for is so neither learned nor unlearned there:
    the marginal likelihood of Tsuboi et al. 2008 and, for sets of types that differ, of Greenberg et al. 2018.
    """
    log_probs = logits.log_softmax(-1)
    if outside is not None:
        as_outside = log_probs.masked_fill(~outside[:, None, :], -math.inf).logsumexp(-1, keepdim=True)
        log_probs = torch.cat([as_outside, log_probs[..., 1:]], dim=-1)
    if soft is None:
        return torch.nn.functional.nll_loss(log_probs.flatten(0, 1), tags.flatten(), ignore_index=IGNORED)
    learned = tags != IGNORED
    return -(soft[learned] * log_probs[learned]).sum(-1).mean()


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Torch seeded, and on `threads` threads (0: every core this process may use), inside; as before outside.

    The same data, seed, settings and number of threads on the same machine give the same weights, on its processor. On
    a GPU they give nearly the same weights: sums are made in an order that is not fixed.
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

    def __init__(self, model: Any, plan: Plan, settings: TrainSettings, compute: Compute) -> None:
        self._model = model
        self._compute = compute
        self._plan = plan
        self._settings = settings
        self._weights = trainable(model)
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._optimiser = torch.optim.AdamW(
            self._groups(),
            lr=plan.learning_rate,
            betas=(0.9, settings.beta2),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._random = np.random.default_rng(settings.seed)
        self._began = time.monotonic()
        self.done = 0

    @property
    def seconds(self) -> float:
        """Since the training began."""
        return time.monotonic() - self._began

    def run_epoch(
        self,
        epoch: int,
        windows: Sequence[FramedWindow],
        mentions: Mentions,
        padding_id: int,
        progress: TrainingProgress,
    ) -> float:
        """One pass over the windows, with other mentions in some; gives the mean loss."""
        self._model.train()
        windows = [mentions.replaced(window, self._random) for window in windows]
        lengths = [len(window.ids) for window in windows]
        losses = []
        for batch in shuffled_batches(lengths, self._plan.batch_size, self._random):
            loss = self._step([windows[index] for index in batch.tolist()], padding_id)
            losses.append(loss)
            steps = self._plan.steps
            left = self.seconds / self.done * (steps - self.done)
            progress.step(TrainingStep(epoch, self._plan.epochs, self.done, steps, loss, left))
        return float(np.mean(losses))

    def take_average(self) -> None:
        """Give the model the average of its weights."""
        with torch.no_grad():
            for name, parameter in self._weights.items():
                parameter.copy_(self._average[name])

    def _step(self, framed: Sequence[FramedWindow], padding_id: int) -> float:
        ids, mask, tags = collate(framed, padding_id)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate() * group["share"]
        device = self._compute.device
        with self._compute.precision():
            logits = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits.cpu()
        soft, outside = soft_targets(framed, tags, logits.shape[-1]), outside_tags(framed, logits.shape[-1])
        loss = cross_entropy(logits.float(), tags, soft, outside)
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

    def _groups(self) -> list[dict[str, Any]]:
        """What is trained, by the share of the plan's rate: the classifier apart where the plan has a rate for it."""
        head_rate = self._plan.head_learning_rate
        if head_rate is None:
            return [{"params": list(self._weights.values()), "share": 1.0}]
        encoder = f"{self._model.base_model_prefix}."
        inside = [weight for name, weight in self._weights.items() if name.startswith(encoder)]
        head = [weight for name, weight in self._weights.items() if not name.startswith(encoder)]
        return [{"params": inside, "share": 1.0}, {"params": head, "share": head_rate / self._plan.learning_rate}]

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
