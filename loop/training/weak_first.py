"""A training in two stages: weak labels and gold first, gold alone last.

The order is that of NEEDLE (Jiang et al. 2021): what the weak labels teach wrongly, the gold corrects, and nothing weak
is learned afterwards. In the first stage gold may stand more often than weak labels do, with a boost for rare types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from loop.settings.model import TrainSettings, WeakSettings
from loop.training.batches import FramedWindow
from loop.training.progress import TrainingProgress
from loop.training.trainer import SMALL_BATCH, Outcome, Plan, make_plan, train
from ner.arrays import FloatArray, IntArray
from ner.labels import LabelSet

# How often each weak window stands in the first stage, and how many windows the stage has at most.
PASSES, MOST_WINDOWS = 3, 6000
# A type is rare if gold has fewer entities of the type than this share of the mean over the types that gold has.
RARE = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
    """The windows that are learned: `last`, and before them, if there are any, `first`."""

    last: tuple[FramedWindow, ...]
    first: tuple[FramedWindow, ...] = ()


@dataclass(frozen=True, slots=True)
class StageLimits:
    """How long a training may be. windows: of the first stage. steps: of the last stage."""

    windows: int = MOST_WINDOWS
    steps: int | None = None


def learn(
    model: Any,
    lesson: Lesson,
    settings: TrainSettings,
    padding_id: int,
    progress: TrainingProgress,
    *,
    limits: StageLimits | None = None,
) -> Outcome:
    """Train what is trainable in `model` on the lesson.

    After a first stage, the last stage goes on from an adapter, too, and so has its learning rate. The outcome is that
    of the last stage, with the steps of the first stage and the seconds of both. Raises as `train`.
    """
    limits = limits or StageLimits()
    first = lesson.first[: limits.windows]
    plan = _shortened(make_plan(len(lesson.last), settings, bool(first)), limits.steps)
    if not first:
        return train(model, lesson.last, plan, settings, padding_id, progress)
    progress.stage("learning weak labels")
    size = min(SMALL_BATCH, settings.batch_size)
    once = Plan(1, size, -(-len(first) // size), settings.learning_rate)
    before = train(model, first, once, settings, padding_id, progress)
    progress.stage("learning gold")
    done = train(model, lesson.last, plan, settings, padding_id, progress)
    return replace(done, first_steps=before.steps, seconds=round(before.seconds + done.seconds, 1))


def mixture(
    weak: Sequence[FramedWindow], gold: Sequence[FramedWindow], labels: LabelSet, settings: WeakSettings, seed: int
) -> tuple[FramedWindow, ...]:
    """The windows of the first stage in random order: each weak window PASSES times, and gold among them.

    For each time that the weak windows stand there, each gold window does `oversampling` times, and `rare_boost` times
    more where it holds a rare type. If weak windows are more than `share` of the whole then, gold is repeated.
    Deterministic. Any beginning of the answer is a fair sample of the whole.
    """
    if not weak:
        return ()
    random = np.random.default_rng(seed)
    gold_times = _gold_times(gold, labels, settings)
    least = len(weak) * (1 - settings.share) / settings.share
    wanted: FloatArray = PASSES * gold_times * max(1.0, least / gold_times.sum())
    scale = min(1.0, MOST_WINDOWS / (PASSES * len(weak) + wanted.sum()))
    everything = (*weak, *gold)
    times = _rounded(scale * np.concatenate([np.full(len(weak), float(PASSES)), wanted]), random)
    places = np.repeat(np.arange(len(everything)), times)
    return tuple(everything[place] for place in random.permutation(places).tolist())


def _gold_times(gold: Sequence[FramedWindow], labels: LabelSet, settings: WeakSettings) -> FloatArray:
    """(windows,) how often each gold window stands for each time that the weak windows do, before gold is repeated."""
    times: FloatArray = settings.oversampling + settings.rare_boost * holds_rare(gold, labels)
    return times if times.any() else np.full(len(gold), 1e-9)


def holds_rare(gold: Sequence[FramedWindow], labels: LabelSet) -> FloatArray:
    """(windows,): 1 where a window holds an entity of a rare type, else 0."""
    counts = np.array([np.bincount(window.tags[window.tags > 0], minlength=len(labels.tags)) for window in gold])
    begins = counts[:, 1::2]
    total = begins.sum(axis=0)
    rare = (total > 0) & (total < RARE * total.sum() / max(1, np.count_nonzero(total)))
    holds: FloatArray = np.asarray(begins[:, rare].any(axis=1), dtype=np.float64)
    return holds


def _rounded(wanted: FloatArray, random: np.random.Generator) -> IntArray:
    """Whole numbers whose expected values are the wanted ones."""
    whole = np.floor(wanted)
    drawn: IntArray = (whole + (random.random(len(wanted)) < wanted - whole)).astype(np.int64)
    return drawn


def _shortened(plan: Plan, steps: int | None) -> Plan:
    """The plan with so few epochs that it has at most `steps` steps; at least one epoch."""
    if steps is None or plan.steps <= steps:
        return plan
    return replace(plan, epochs=max(1, steps // plan.steps_per_epoch))
