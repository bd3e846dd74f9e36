"""`[promotion]` and `[gates]` of loop.toml: when a candidate goes into service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from ner.errors import ConfigError

BY_WEAK_VOTE = "weak vote"
_LEAST_ALPHA = 0.001


@dataclass(frozen=True)
class PromotionSettings:
    """How a candidate is judged against the model in service.

    alpha: the chance of at least one false promotion over the `looks` of one holdout, parted by `spending`. Alpha,
    looks and spending of a holdout are fixed at its first look; changes count from the next one on.
    delta: F1 (0..1) that an entity type may lose. confidence: of every interval and of the bound held against delta.
    least_documents: labelled documents that a holdout has before a look is spent on it, and that a next one may have.
    wanted: the difference in micro-F1 (0..1) that one would like to be able to see.
    resamples: of the permutation test and the bootstrap, at least; permutations: never fewer than 20 / alpha.
    first_model: a project's first model is judged by the gates alone, or must beat the weak-label vote.
    reference: run the candidate in FP32, too, to compare the file with it and to time both; needs torch, and a minute.
    robustness: held-out texts that are perturbed, at most; 0 for none. timed: texts that are timed; 0 for none.
    texts: whether reports quote held-out texts; without them a report can go where the texts may not.
    """

    alpha: float = 0.05
    looks: int = 10
    spending: Literal["even", "decreasing"] = "even"
    delta: float = 0.03
    confidence: float = 0.95
    least_documents: int = 20
    wanted: float = 0.02
    resamples: int = 10_000
    seed: int = 13
    first_model: Literal["gates", "weak vote"] = "gates"
    reference: bool = True
    robustness: int = 300
    timed: int = 100
    texts: bool = True

    def __post_init__(self) -> None:
        for name in ("alpha", "delta", "confidence", "wanted"):
            _require(0 < getattr(self, name) < 1, f"promotion.{name} lies between 0 and 1", getattr(self, name))
        _require(1 <= self.looks <= 100, "promotion.looks lies in 1..100", self.looks)
        _require(self.alpha >= _LEAST_ALPHA, f"promotion.alpha is at least {_LEAST_ALPHA}", self.alpha)
        _require(self.least_documents >= 1, "promotion.least_documents is at least 1", self.least_documents)
        _require(1000 <= self.resamples <= 10**6, "promotion.resamples lies in 1,000..1,000,000", self.resamples)
        _require(0 <= self.seed < 2**32, "promotion.seed lies in 0..4294967295", self.seed)
        for name in ("robustness", "timed"):
            _require(getattr(self, name) >= 0, f"promotion.{name} is at least 0", getattr(self, name))


@dataclass(frozen=True)
class GateSettings:
    """`[gates]`: targets that a candidate has to reach, each optional; 0 or nothing for none.

    f1, precision, recall: micro, on the holdout, at least (0..1). types: the same for entity types, such as
    `types.OS = { recall = 0.8 }`. latency_ms: median time of one text, at most. documents_per_second: in calls of 8, at
    least. bundle_mb, memory_mb: of the model's folder, and of a process that runs it, at most.
    """

    f1: float = 0.0
    precision: float = 0.0
    recall: float = 0.0
    latency_ms: float = 0.0
    documents_per_second: float = 0.0
    bundle_mb: float = 0.0
    memory_mb: float = 0.0
    types: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self) if one.name != "types"):
            top = 1.0 if name in SHARES else float("inf")
            value = getattr(self, name)
            _require(0 <= value <= top and value != float("inf"), f"gates.{name} is a number from 0 on", value)
        for label, targets in self.types.items():
            unknown = [name for name in targets if name not in SHARES]
            _require(not unknown, f"gates.types.{label} has {', '.join(SHARES)}", unknown)
            for name, value in targets.items():
                _require(0 <= value <= 1, f"gates.types.{label}.{name} lies in 0..1", value)


SHARES = ("f1", "precision", "recall")


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ConfigError(rule, value=value, next_step=f"Correct {rule.split()[0]} in loop.toml.")
