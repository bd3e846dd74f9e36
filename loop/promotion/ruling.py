"""From the scores of all systems to what the policy decides: the estimates, the claim, the decision and its gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loop.evaluation.regret import Estimate, documents_until_any, estimate, estimate_types
from loop.evaluation.scores import Counts, Scores, grouped
from loop.evaluation.significance import Comparison, micro_columns, permutations_for, randomisation_p_value
from loop.judging.measured import HeldOutText
from loop.promotion.attempt import Gate, Look, Rival, Ruling
from loop.promotion.gates import difference_gates, guard_gates, significance_gate, type_gates
from loop.promotion.holdout import groups_of, limits_of
from loop.promotion.policies import BOUNDED, PROVEN, CandidateFacts, Decision, decide
from loop.settings.model import PromotionSettings


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSystems:
    """The scores of every system on the same texts.

    against: the name of the system that `old` is of. earlier: the scores of the other models, by version. anchor: the
    version that claims are made against; None where claims are made against `against`. A claim needs the scores of its
    anchor. by_hand: whether a person put `against` into service. first: whether `against` was compared with no model.
    """

    texts: Sequence[HeldOutText]
    new: Scores
    old: Scores
    against: str
    earlier: Mapping[str, Scores]
    anchor: str | None
    comparison: Comparison
    by_hand: bool = False
    first: bool = False

    @property
    def known(self) -> dict[str, Scores]:
        """The scores of the models that serve or served, by version, the one in service first."""
        return {self.against: self.old, **self.earlier}

    @property
    def best(self) -> str:
        """The one of highest F1 on these texts; of equal models the first."""
        return max(self.known, key=lambda version: self.known[version].micro.f1)


def rule(
    compared: ScoredSystems, look: Look | None, absolute: Sequence[Gate], settings: PromotionSettings
) -> tuple[Ruling, tuple[Gate, ...]]:
    """The policy's decision, and the gates that show it. absolute: the gates of the file and of the targets.

    There has to be an entity in the gold.
    """
    counts = {version: _counts(compared, scores) for version, scores in compared.known.items()}
    new, old = _counts(compared, compared.new), counts[compared.against]
    served, types = estimate(new, old), estimate_types(new, old)
    rows = {version: estimate(new, other) for version, other in counts.items()}
    best, anchor = compared.best, _anchor(compared, settings)
    outdone = best != compared.against
    worse = type_gates(compared.comparison.per_type, settings.delta)
    facts = CandidateFacts(
        served=served,
        best=rows[best] if outdone else None,
        best_served=estimate(counts[best], old) if outdone else None,
        types=types,
        p_value=_p_value(compared, new, counts[anchor], anchor, look, settings) if look and anchor else None,
        alpha=look.alpha if look and anchor else None,
        worse_types=tuple(gate.entity_type or gate.name for gate in worse if gate.blocks),
        blocking=tuple(gate.told for gate in absolute if gate.blocks),
        by_hand=compared.by_hand,
        first=compared.first,
    )
    decision = decide(settings.policy, facts, limits_of(settings))
    ruling = Ruling(
        policy=decision.policy,
        verdict=decision.verdict,
        word=decision.word,
        served=_rival(compared.against, served),
        best=_rival(best, rows[best]),
        anchor=_rival(anchor, rows[anchor]) if anchor else None,
        needed=decision.needed,
        documents=served.documents,
        documents_until_any=documents_until_any(served.error, served.documents, decision.average_loss),
        average_loss=decision.average_loss,
        first=facts.first,
        types=decision.types,
        p_value=facts.p_value,
        alpha=facts.alpha,
        put_back=best if decision.put_back else None,
        kept_out=best if decision.outdone and not decision.put_back else None,
        reasons=decision.reasons,
    )
    return ruling, _gates(ruling, decision, compared, types, worse, look)


def _anchor(compared: ScoredSystems, settings: PromotionSettings) -> str | None:
    """The version that the claim is made against; None where it gave no answers, so that no claim is made."""
    if compared.anchor is None or settings.policy == PROVEN:
        return compared.against
    return compared.anchor if compared.anchor in compared.known else None


def _counts(compared: ScoredSystems, scores: Scores) -> Counts:
    return grouped(scores.counts, groups_of(compared.texts))


def _rival(version: str, row: Estimate) -> Rival:
    return Rival(version, row.difference, row.error, row.better)


def _p_value(
    compared: ScoredSystems, new: Counts, other: Counts, anchor: str, look: Look, settings: PromotionSettings
) -> float | None:
    """Of the paired test that the candidate is better than the anchor; None where no look is left."""
    if not look.alpha:
        return None
    if anchor == compared.against:
        return compared.comparison.micro.p_value
    permutations = permutations_for(look.alpha, settings.resamples)
    rng = np.random.default_rng(settings.seed)
    return randomisation_p_value(micro_columns(new), micro_columns(other), permutations, rng)


def _gates(
    ruling: Ruling,
    decision: Decision,
    compared: ScoredSystems,
    types: Sequence[Estimate],
    worse: Sequence[Gate],
    look: Look | None,
) -> tuple[Gate, ...]:
    if decision.policy == PROVEN:
        row, alpha = compared.comparison.micro, look.alpha if look else None
        return (significance_gate(row, alpha, compared.against, look), *worse)
    guards = guard_gates(types, decision.types) if decision.policy == BOUNDED else ()
    return (*difference_gates(ruling), *guards)
