"""Which model an attempt at a promotion is about.

`loop promote`: the candidate as served against the model in service as served, on the holdout, by every gate.

In order: the candidate's files are proven; the holdout is renewed if it is spent; the candidate is asked in a process
of its own, in INT8 and in FP32; a look is spent; only then is what it said held against the gold. One transaction
moves the pointer and keeps the decision with its figures.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loop.evaluation.robustness import Perturbed
from loop.evaluation.scores import score
from loop.judging.contract import WrongFileError, check_contract
from loop.judging.evidence import IncumbentError, Measured, measure, perturbed
from loop.judging.measured import ContractCheck
from loop.promotion.attempt import DEFERRED, FORCED, PROMOTED, REFUSED, REJECTED, Attempt, Look
from loop.promotion.by_document import compared, error_alone
from loop.promotion.gates import gates_of, reason_of
from loop.promotion.holdout import held_out_gold, known_spans, look_at, next_look, renew, too_few, waiting_for
from loop.promotion.record import figures_of, record, risks_of, rotated
from loop.settings.settings import Settings
from loop.training.progress import Stages, silent
from ner.labels import LabelSet
from store import registry
from store.columns import utc_now
from store.errors import RefusedError
from store.gold import GoldDocument, fingerprint
from store.registry import CANDIDATE, RETIRED, models
from store.runs import PROMOTE, TrackedRun, tracked
from store.schema import Model, Project
from store.session import Store


def choose(known: Sequence[Model], version: str | None, *, forced: bool) -> Model:
    """The candidate of that version, else the newest; by force a rejected or retired model, too.

    Raises RefusedError when there is none, or the version is of another state.
    """
    states = (CANDIDATE, REJECTED, RETIRED) if forced else (CANDIDATE,)
    candidates = [found for found in known if found.state == CANDIDATE]
    if version is not None:
        named = [found for found in known if found.version == version]
        if named and named[0].state in states:
            return named[0]
        raise RefusedError(
            "only a candidate is promoted",
            value=f"{version} is {named[0].state if named else 'not a model of this project'}",
            next_step=f"Candidates: {', '.join(found.version for found in candidates) or 'none'}.",
        )
    if not candidates:
        next_step = "Name the version." if forced else "Train one with `loop retrain`."
        raise RefusedError("a promotion needs a candidate", value="none", next_step=next_step)
    return candidates[-1]


class RefusedCandidateError(WrongFileError):
    """A candidate's files are shown to be wrong; `attempt` is what its report is made of."""

    def __init__(self, error: WrongFileError, attempt: Attempt) -> None:
        super().__init__(error.rule, value=error.value, next_step=error.next_step)
        self.attempt = attempt


@dataclass(frozen=True, slots=True, eq=False)
class PromotionResult:
    """One attempt, and the figures that the store keeps with its decision."""

    attempt: Attempt
    figures: Mapping[str, Any]

    @property
    def promoted(self) -> bool:
        """Whether the candidate is in service now."""
        return self.attempt.outcome in (PROMOTED, FORCED)


def promote_candidate(
    store: Store,
    settings: Settings,
    project: Project,
    version: str | None = None,
    *,
    who: str,
    threads: int = 1,
    force_because: str | None = None,
    stages: Stages = silent,
) -> PromotionResult:
    """Judge the candidate (the newest unless named) and move the pointer, or record why not, with the figures.

    A candidate whose files are shown to be wrong is marked failed, forced or not, and
    RefusedCandidateError is raised. Where the holdout cannot tell, or the model in service cannot be asked, the attempt
    is deferred: the candidate waits and no look is spent. BundleError and JudgingError, for what may pass,
    leave all as it was. `force_because` promotes whatever the gates say, rejected and retired models too, and is kept
    with the decision.
    Raises RefusedError when there is no candidate, or when another model went into service meanwhile; RunHeldError
    while a training or another promotion is at work, and when another process took this one for dead.
    """
    if force_because is not None and not force_because.strip():
        raise RefusedError("a forced promotion says why", value=force_because, next_step='Add --because "...".')
    with tracked(store, project.id, PROMOTE, exclusive=True) as run:
        work = _Promotion(run, settings, project, who, threads, force_because, stages)
        result = work.run(version)
        run.counts |= {"version": result.attempt.version, "promoted": result.promoted}
    return result


class _Promotion:
    """One attempt at work."""

    def __init__(
        self,
        run: TrackedRun,
        settings: Settings,
        project: Project,
        who: str,
        threads: int,
        force_because: str | None,
        stages: Stages,
    ) -> None:
        self.at_work, self.store, self.settings, self.project = run, run.store, settings, project
        self.who, self.threads, self.because, self.stages = who, threads, force_because, stages
        self.types = tuple(project.labels)
        self.began = time.monotonic()

    def run(self, version: str | None) -> PromotionResult:
        """Everything, in order."""
        with self.store.read() as session:
            chosen = choose(models(session, self.project.id), version, forced=self.because is not None)
            incumbent = registry.promoted(session, self.project.id)
        attempt = self._attempt(chosen, incumbent)
        contract = self._proven(attempt, chosen)
        if self.because is None:
            attempt = replace(attempt, rotation=renew(self.at_work, self.project, self.settings.promotion))
        with self.store.read() as session:
            documents = held_out_gold(session, self.project)
            look = next_look(session, self.project, self.settings.promotion)
        if self.because is None and (obstacle := self._obstacle(incumbent, documents, look)):
            return self._defer(attempt, obstacle, documents, look)
        try:
            measured = self._measure(attempt, chosen, incumbent, documents, contract)
        except IncumbentError as error:
            if self.because is None:
                return self._defer(attempt, f"{error} Put it back, roll back, or force", documents, look)
            measured = self._measure(attempt, chosen, None, documents, contract)
            measured = replace(measured, problems=(str(error),))
        return self._decide(attempt, chosen, incumbent, documents, measured)

    def _obstacle(self, incumbent: Model | None, documents: Sequence[GoldDocument], look: Look) -> str | None:
        """Why the holdout cannot judge now; a first model is compared with nothing, and needs no more than a look."""
        if incumbent is None and (look.alpha > 0 or not documents):
            return None
        return too_few(documents, self.types, look, self.settings.promotion)

    def _proven(self, attempt: Attempt, chosen: Model) -> tuple[ContractCheck, ...]:
        self.stages("proving the files")
        try:
            folder = self.settings.model_dir / chosen.path
            return check_contract(folder, chosen.version, chosen.files, self.project.labels)
        except WrongFileError as error:
            raise self._refused(attempt, error) from error

    def _refused(self, attempt: Attempt, error: WrongFileError) -> RefusedCandidateError:
        """The refusal is noted in the store; the error that is given carries the attempt, for its report."""
        with self.at_work.transaction() as tx:
            registry.refuse(tx, self.project.id, attempt.version, reason=str(error), who=self.who)
            tx.commit()
        done = replace(attempt, outcome=REFUSED, reason=str(error), judged_seconds=self._seconds())
        return RefusedCandidateError(error, done)

    def _attempt(self, chosen: Model, incumbent: Model | None) -> Attempt:
        forced = f" --force --because {shlex.quote(self.because)}" if self.because else ""
        return Attempt(
            project=self.project.name,
            version=chosen.version,
            incumbent=incumbent.version if incumbent else None,
            outcome=DEFERRED,
            reason="",
            who=self.who,
            at=utc_now(),
            command=f"loop promote {chosen.version}{forced}",
            types=self.types,
            because=self.because,
        )

    def _defer(self, attempt: Attempt, obstacle: str, documents: Sequence[GoldDocument], look: Look) -> PromotionResult:
        told = f"{rotated(attempt.rotation)}Not judged yet: {obstacle}."
        done = replace(attempt, reason=told, look=look if look.alpha else None, judged_seconds=self._seconds())
        with self.store.read() as session:
            waits_for = waiting_for(session, self.project, self.settings.promotion)
        figures = {"holdout": fingerprint(documents), "documents": len(documents), "waits_for": waits_for}
        with self.at_work.transaction() as tx:
            registry.defer(tx, self.project.id, done.version, reason=told, who=self.who, figures=figures)
            tx.commit()
        return PromotionResult(done, figures)

    def _measure(
        self,
        attempt: Attempt,
        chosen: Model,
        incumbent: Model | None,
        documents: Sequence[GoldDocument],
        contract: tuple[ContractCheck, ...],
    ) -> Measured:
        try:
            return measure(
                self.store,
                self.settings,
                self.project,
                chosen,
                incumbent,
                [(item, known_spans(item, self.types)) for item in documents],
                contract,
                threads=self.threads,
                stages=self.stages,
            )
        except WrongFileError as error:
            raise self._refused(attempt, error) from error

    def _decide(
        self,
        attempt: Attempt,
        chosen: Model,
        incumbent: Model | None,
        documents: Sequence[GoldDocument],
        measured: Measured,
    ) -> PromotionResult:
        """Spend the look, hold what was said against the gold, and record what follows."""
        self.stages("deciding")
        look = self._look(chosen, documents)
        settings = self.settings.promotion
        gold = [one.gold for one in measured.documents]
        labels = LabelSet(self.types)
        new = score(gold, [one.candidate for one in measured.documents], labels)
        against = measured.against
        old = score(gold, [one.incumbent or () for one in measured.documents], labels) if against else None
        comparison = compared(measured.documents, new, old, look, settings) if old is not None else None
        gates = gates_of(
            new,
            comparison,
            look,
            self.settings.gates,
            measured.efficiency,
            contract=measured.contract,
            agreement=measured.agreement,
            delta=settings.delta,
            against=against,
        )
        reason = reason_of(gates, comparison, new, against)
        passed = not any(gate.blocks for gate in gates)
        if passed and comparison is None and new.micro.support and not new.micro.true_positives:
            passed, reason = False, f"{reason} It gets none of them right."
        outcome = (PROMOTED if passed else REJECTED) if self.because is None else FORCED
        told = f"{rotated(attempt.rotation)}{reason}" + "".join(f" ({one})" for one in measured.problems)
        if self.because is not None:
            told = f"Forced by {self.who}, because: {self.because}. {told}"
        done = replace(
            attempt,
            outcome=outcome,
            reason=told,
            documents=measured.documents,
            against=against,
            candidate_scores=new,
            incumbent_scores=old,
            comparison=comparison,
            agreement=measured.agreement,
            gates=gates,
            contract=measured.contract,
            look=look,
            efficiency=measured.efficiency,
            robustness=self._robustness(chosen, measured),
            risks=risks_of(gates, measured, incumbent, look),
            machine=measured.machine,
            judged_seconds=self._seconds(),
        )
        known = {chosen.version: new}
        if incumbent is not None and old is not None and against == incumbent.version:
            known[incumbent.version] = old
        figures = figures_of(done, known, fingerprint(documents))
        if comparison is None and documents:
            figures |= {"standard_error_alone": error_alone(measured.documents, new, settings)}
        record(self.at_work, self.project, done, incumbent, known, figures)
        return PromotionResult(done, figures)

    def _robustness(self, chosen: Model, measured: Measured) -> tuple[Perturbed, ...]:
        self.stages("perturbing texts")
        return perturbed(self.settings, self.project, chosen, measured.documents, self.threads)

    def _look(self, chosen: Model, documents: Sequence[GoldDocument]) -> Look | None:
        """The look, spent before anything of the gold is compared; None where there is no gold, or none is left."""
        if not documents:
            return None
        with self.at_work.transaction() as tx:
            try:
                look = look_at(tx, self.project, chosen.version, documents, self.settings.promotion)
            except RefusedError:
                if self.because is None:
                    raise
                return None
            tx.commit()
        return look

    def _seconds(self) -> float:
        return round(time.monotonic() - self.began, 1)
