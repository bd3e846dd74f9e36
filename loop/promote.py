"""`loop promote`: the candidate as served against the incumbent as served, on the holdout, now.

For now higher micro-F1 wins and ties lose; who decides is `decide`, a pure function of two tables of scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from loop.evaluate import Scores, evaluate_bundle
from ner.bundle import load_bundle
from ner.errors import BundleError
from ner.spans import Span
from ner.tagger import Tagger
from store import registry
from store.errors import RefusedError
from store.gold import GoldDocument, fingerprint, gold
from store.registry import CANDIDATE, fail_model, model, models, reject
from store.runs import tracked
from store.schema import HOLDOUT, Model, Project, Promotion
from store.scores import TypeScore, save_scores
from store.session import Store, Transaction

PROMOTE = "promote"
DATASET = "holdout"


class Placed(Protocol):
    """What is needed of the settings."""

    @property
    def model_dir(self) -> Path: ...


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Whether the candidate goes into service, why in a sentence, and the figures (F1s in 0..1)."""

    promote: bool
    reason: str
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class PromotionResult:
    """One attempt: the decision as it is recorded, and both tables (None without an incumbent or without gold)."""

    version: str
    previous: str | None
    decision: Decision
    candidate: Scores | None
    incumbent: Scores | None


def decide(candidate: Scores, incumbent: Scores | None) -> Decision:
    """Micro-F1 on the same documents, strictly higher than the incumbent's: ties lose.

    Without an incumbent a candidate is promoted unless there is gold and it gets none of it right. Without gold in the
    holdout no candidate can be judged against an incumbent.
    """
    new, support = candidate.micro.f1, candidate.micro.support
    figures: dict[str, Any] = {"documents": candidate.documents, "entities": support, "candidate": candidate.as_dict()}
    if incumbent is not None:
        old = incumbent.micro.f1
        figures |= {"incumbent": incumbent.as_dict(), "difference": new - old}
        if not support:
            return Decision(
                False, "cannot be judged: the holdout has no gold entity, and a model is in service", figures
            )
        verb = "is above" if new > old else "is not above"
        return Decision(new > old, f"micro-F1 {new:.4f} {verb} the incumbent's {old:.4f} on the holdout", figures)
    if not support:
        return Decision(True, "the first model; the holdout has no gold entity to judge it by", figures)
    if not candidate.micro.true_positives:
        return Decision(False, f"micro-F1 is 0 on a holdout with {support} entities", figures)
    return Decision(True, f"the first model; micro-F1 {new:.4f} on the holdout", figures)


def promote_candidate(
    store: Store, settings: Placed, project: Project, version: str | None = None, *, who: str, threads: int = 1
) -> PromotionResult:
    """Judge the candidate (the newest unless named) and move the pointer, or record the rejection, with the figures.

    Both models are loaded and verified from the disk and evaluated now on the holdout's gold. Scores, pointer and
    record are one transaction. A candidate whose bundle is refused is marked failed and BundleError raised; an
    incumbent whose bundle is refused cannot serve either, so the candidate is judged as a first model, which the reason
    says. Raises RefusedError when there is no candidate, or when another model went into service meanwhile.
    """
    with tracked(store, project.id, PROMOTE, exclusive=True) as run:
        with store.read() as session:
            candidate = _candidate(models(session, project.id), version)
            incumbent = registry.promoted(session, project.id)
            documents = gold(session, project.id, [HOLDOUT])
        tagger = _load_candidate(store, settings, project, candidate, threads)
        new = _evaluate(tagger, documents)
        old, obstacle = _evaluate_incumbent(settings, project, incumbent, documents, threads)
        decision = decide(new, old)
        if obstacle:
            decision = replace(decision, reason=f"{decision.reason} ({obstacle})")
        scored = {candidate.version: new} | ({incumbent.version: old} if incumbent and old else {})
        with store.transaction() as tx:
            _save(tx, scored, fingerprint(documents))
            _record(tx, project, candidate.version, incumbent, decision, who)
            tx.commit()
        run.counts |= {"version": candidate.version, "promoted": decision.promote}
    previous = incumbent.version if incumbent else None
    return PromotionResult(candidate.version, previous, decision, new, old)


def rollback(
    store: Store, settings: Placed, project: Project, *, who: str, reason: str, to: str | None = None
) -> Promotion:
    """Put the model back that was in service before (or `to`), once its bundle is verified. Errors as the registry's.

    BundleError for a model of other labels than the project's: the backend would not serve it. Takes no lock: it must
    work while a training runs.
    """
    with store.transaction() as tx:
        decision = registry.rollback(tx, project.id, reason=reason, who=who, to=to)
        load_bundle(settings.model_dir / model(tx.session, decision.version).path, project.labels)
        tx.commit()
    return decision


def _candidate(known: Sequence[Model], version: str | None) -> Model:
    candidates = [found for found in known if found.state == CANDIDATE]
    if version is not None:
        named = [found for found in known if found.version == version]
        if named and named[0].state == CANDIDATE:
            return named[0]
        raise RefusedError(
            "only a candidate is promoted",
            value=f"{version} is {named[0].state if named else 'not a model of this project'}",
            next_step=f"Candidates: {', '.join(found.version for found in candidates) or 'none'}.",
        )
    if not candidates:
        raise RefusedError("a promotion needs a candidate", value="none", next_step="Train one with `loop retrain`.")
    return candidates[-1]


def _load_candidate(store: Store, settings: Placed, project: Project, candidate: Model, threads: int) -> Tagger:
    try:
        return Tagger(load_bundle(settings.model_dir / candidate.path, project.labels), threads)
    except BundleError as error:
        with store.transaction() as tx:
            fail_model(tx, candidate.version, str(error))
            tx.commit()
        raise


def _evaluate_incumbent(
    settings: Placed, project: Project, incumbent: Model | None, documents: Sequence[GoldDocument], threads: int
) -> tuple[Scores | None, str | None]:
    """Its scores, or why it has none."""
    if incumbent is None:
        return None, None
    try:
        tagger = Tagger(load_bundle(settings.model_dir / incumbent.path, project.labels), threads)
    except BundleError as error:
        return None, f"the incumbent {incumbent.version} is refused: {error}"
    return _evaluate(tagger, documents), None


@dataclass(frozen=True, slots=True)
class _Gold:
    text: str
    spans: tuple[Span, ...]


def _evaluate(tagger: Tagger, documents: Sequence[GoldDocument]) -> Scores:
    """Gold spans whose label is no longer the project's are left out, as in training."""
    try:
        known = set(tagger.labels.types)
        kept = [_Gold(item.text, tuple(span for span in item.spans if span.label in known)) for item in documents]
        return evaluate_bundle(tagger, kept)
    finally:
        tagger.close()


def _save(tx: Transaction, scored: dict[str, Scores], digest: str) -> None:
    for version, table in scored.items():
        rows = [
            TypeScore(name, row.precision, row.recall, row.f1, row.support, row.true_positives, row.predicted)
            for name, row in (*table.per_type.items(), ("micro", table.micro), ("macro", table.macro))
        ]
        save_scores(tx, version, DATASET, rows, digest)


def _record(
    tx: Transaction, project: Project, version: str, judged_against: Model | None, decision: Decision, who: str
) -> None:
    now = registry.promoted(tx.session, project.id)
    if (now and now.version) != (judged_against and judged_against.version):
        raise RefusedError(
            "a candidate is judged against the model in service",
            value=f"{now.version if now else 'none'} went into service meanwhile",
            next_step="Run `loop promote` again.",
        )
    record = registry.promote if decision.promote else reject
    record(tx, project.id, version, reason=decision.reason, who=who, figures=decision.figures)
