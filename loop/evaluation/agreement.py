"""How far two systems name the same spans in the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """F1 of one system's spans against the other's, 0..1, and how much it stands on.

    spans: those of both systems together. texts: how many were compared. differing: in how many the spans differ.
    """

    f1: float
    spans: int
    texts: int
    differing: int


def check_agreement(first: Sequence[Sequence[object]], second: Sequence[Sequence[object]]) -> Agreement:
    """Compare what two systems say of the same texts, spans without scores. F1 is 1.0 where neither names a span."""
    pairs = [(set(ours), set(theirs)) for ours, theirs in zip(first, second, strict=True)]
    total = sum(len(ours) + len(theirs) for ours, theirs in pairs)
    common = sum(len(ours & theirs) for ours, theirs in pairs)
    differing = sum(ours != theirs for ours, theirs in pairs)
    return Agreement(2 * common / total if total else 1.0, total, len(pairs), differing)
