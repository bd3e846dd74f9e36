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
from loop.promotion.holdout import groups_of
from loop.promotion.policies import BOUNDED, PROVEN, CandidateFacts, Decision, PolicyLimits, decide
from loop.settings.model import PromotionSettings


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSystems:
    """The scores of every system on the same texts.

    against: the name of the system that `old` is of. earlier: the scores of the other models, by version. best, anchor:
    versions among `against` and `earlier`.
    """

    texts: Sequence[HeldOutText]
    new: Scores
    old: Scores
    against: str
    earlier: Mapping[str, Scores]
    best: str
    anchor: str
    comparison: Comparison


def best_of(against: str, old: Scores, noted: str | None, earlier: Mapping[str, Scores]) -> str:
    """The model with the higher F1 on these texts, of the model in service and the best model noted so far."""
    if noted is not None and noted in earlier and earlier[noted].micro.f1 > old.micro.f1:
        return noted
    return against


def rule(
    compared: ScoredSystems, look: Look | None, absolute: Sequence[Gate], settings: PromotionSettings
) -> tuple[Ruling, tuple[Gate, ...]]:
    """The policy's decision, and the gates that show it. absolute: the gates of the file and of the targets.

    There has to be an entity in the gold.
    """
    sides = {compared.against: compared.old, **compared.earlier}
    counts = {version: _counts(compared, scores) for version, scores in sides.items()}
    new, old = _counts(compared, compared.new), counts[compared.against]
    served, types = estimate(new, old), estimate_types(new, old)
    rows = {version: estimate(new, other) for version, other in counts.items()}
    anchor = compared.against if settings.policy == PROVEN else compared.anchor
    outdone = compared.best != compared.against
    worse = type_gates(compared.comparison.per_type, settings.delta)
    facts = CandidateFacts(
        served=served,
        best=rows[compared.best] if outdone else None,
        best_served=estimate(counts[compared.best], old) if outdone else None,
        types=types,
        p_value=_p_value(compared, new, counts[anchor], anchor, look, settings) if look else None,
        alpha=look.alpha if look else None,
        worse_types=tuple(gate.entity_type or gate.name for gate in worse if gate.blocks),
        blocking=tuple(gate.name for gate in absolute if gate.blocks),
    )
    decision = decide(settings.policy, facts, PolicyLimits(settings.average_loss, settings.least_documents))
    ruling = Ruling(
        policy=decision.policy,
        verdict=decision.verdict,
        word=decision.word,
        served=_rival(compared.against, served),
        best=_rival(compared.best, rows[compared.best]),
        anchor=_rival(anchor, rows[anchor]),
        needed=decision.needed,
        documents=served.documents,
        documents_until_any=documents_until_any(served.error, served.documents, settings.average_loss),
        average_loss=settings.average_loss,
        types=decision.types,
        p_value=facts.p_value,
        alpha=facts.alpha,
        put_back=compared.best if decision.put_back else None,
        reasons=decision.reasons,
    )
    return ruling, _gates(ruling, decision, compared, types, worse, look)


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
