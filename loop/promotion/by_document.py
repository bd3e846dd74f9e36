"""Scores on the holdout's texts, compared by document: the texts of one group depend on each other.

Counted one by one they would say more than they know, and chance would pass more often than it may.
"""

from __future__ import annotations

from collections.abc import Sequence

from loop.evaluation.scores import Scores, grouped
from loop.evaluation.significance import Comparison, compare_counts, permutations_for, standard_error_of
from loop.judging.measured import HeldOutDocument
from loop.promotion.attempt import Look
from loop.settings.model import PromotionSettings


def compared(
    texts: Sequence[HeldOutDocument], new: Scores, old: Scores, look: Look | None, settings: PromotionSettings
) -> Comparison:
    """Both tables of the same texts; with arrangements enough for what the look may spend."""
    groups = _groups(texts)
    return compare_counts(
        grouped(new.counts, groups),
        grouped(old.counts, groups),
        seed=settings.seed,
        permutations=permutations_for(look.alpha if look else 1.0, settings.resamples),
        resamples=settings.resamples,
        confidence=settings.confidence,
    )


def error_alone(texts: Sequence[HeldOutDocument], scores: Scores, settings: PromotionSettings) -> float:
    """The standard error of one model's micro-F1: what `loop status` estimates from, while there is no pair."""
    return standard_error_of(grouped(scores.counts, _groups(texts)), resamples=settings.resamples, seed=settings.seed)


def _groups(texts: Sequence[HeldOutDocument]) -> list[str]:
    return [one.group or one.name for one in texts]
