"""What ends a training badly: each names the rule, the value and what to try.

What long work is doing now, told to whoever listens.

What a training tells whoever watches it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ner.errors import RuleError


class TrainingError(RuleError):
    """A training cannot start, or made nothing worth keeping."""

    exit_code = 7


class ParityError(TrainingError):
    """The exported file does not say what the trained model says."""


Stages = Callable[[str], None]


def silent(stage: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One optimiser step done: `step` of `steps` (from 1), its loss, and the estimated seconds to the end."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch done: its mean training loss, the development split's loss and micro-F1, and whether it is the best."""

    epoch: int
    epochs: int
    loss: float
    dev_loss: float
    dev_f1: float
    best: bool


class Progress(Protocol):
    """Hears of a retraining as it goes."""

    def stage(self, name: str) -> None:
        """Something else begins: "preparing", "training", "exporting", "checking"."""

    def notice(self, message: str) -> None:
        """Something that people should know."""

    def step(self, step: TrainingStep) -> None:
        """After every optimiser step."""

    def epoch(self, epoch: Epoch) -> None:
        """After every epoch's evaluation."""


class Silence:
    """Tells nobody."""

    def stage(self, name: str) -> None:
        """Ignored."""

    def notice(self, message: str) -> None:
        """Ignored."""

    def step(self, step: TrainingStep) -> None:
        """Ignored."""

    def epoch(self, epoch: Epoch) -> None:
        """Ignored."""


class Teller:
    """Passes on to the caller's progress, and remembers the notices."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.notices: list[str] = []

    def stage(self, name: str) -> None:
        """Passed on."""
        self._progress.stage(name)

    def notice(self, message: str) -> None:
        """Passed on and kept."""
        self.notices.append(message)
        self._progress.notice(message)

    def step(self, step: TrainingStep) -> None:
        """Passed on."""
        self._progress.step(step)

    def epoch(self, epoch: Epoch) -> None:
        """Passed on."""
        self._progress.epoch(epoch)
