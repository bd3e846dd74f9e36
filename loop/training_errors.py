"""What ends a training badly: each names the rule, the value and what to try."""

from __future__ import annotations

from ner.errors import RuleError


class TrainingError(RuleError):
    """A training cannot start, or made nothing worth keeping."""

    exit_code = 7


class ParityError(TrainingError):
    """The exported file does not say what the trained model says."""


class ProjectHeldError(RuleError):
    """Another process trains or promotes in this project."""

    exit_code = 6
