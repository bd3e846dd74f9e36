"""What a training tells whoever watches it, and the errors that end a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ner.errors import RuleError

# Is called with the name of whatever long work begins.
Stages = Callable[[str], None]


class TrainingError(RuleError):
    """A training cannot start, or made nothing worth keeping."""

    exit_code = 7


class ParityError(TrainingError):
    """The exported file does not say what the trained model says."""


def silent(stage: str) -> None:
    """Tell nobody which stage begins."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One optimiser step is done: `step` of `steps` (from 1), its loss, and the estimated seconds to the end."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch is done: its mean loss, in nats a token."""

    epoch: int
    epochs: int
    loss: float


class TrainingProgress:
    """Hears of a retraining as it goes, and does nothing: a view overrides what it shows."""

    def stage(self, name: str) -> None:
        """The next stage begins: "preparing", "training", "exporting" or "checking".

        Between these, the stages of a comparison with weak labels, and the two stages of a training that learns from
        them, say in words what they do.
        """

    def notice(self, message: str) -> None:
        """People should know something."""

    def step(self, step: TrainingStep) -> None:
        """An optimiser step is done."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is done."""
