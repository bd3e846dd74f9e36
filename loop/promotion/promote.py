"""`loop promote`: the newest candidate is judged against the models that serve and served, and the policy decides.

In order: the candidate's files are proven; the candidate is asked in processes of its own, in INT8 and in FP32, and so
are the earlier models; older candidates are retired; a look is spent; only then are the answers compared with the gold.
One transaction moves the pointer and keeps the decision with its figures. Under the policy "proven", a spent holdout is
replaced before anybody is asked.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loop.evaluation.scores import Scores, score
from loop.judging.contract import WrongFileError, check_contract
from loop.judging.evidence import IncumbentError, Measured, measure, perturbed
from loop.judging.gold_check import check_gold
from loop.judging.measured import WEAK_VOTE, ContractCheck
from loop.promotion.attempt import DEFERRED, FORCED, HELD, PROMOTED, REFUSED, REJECTED, Attempt, Look, Ruling
from loop.promotion.compared_models import Rivals, choose, retire_superseded, rivals
from loop.promotion.gates import absolute_gates, gates_of, reason_of
from loop.promotion.holdout import (
    compare_by_document,
    held_out_gold,
    known_spans,
    look_at,
    next_look,
    renew,
    standard_error_alone,
    too_few,
    waiting_for,
)
from loop.promotion.policies import BOUNDED, HOLD, PROMOTE, PROVEN, REJECT
from loop.promotion.record import figures_of, record, risks_of, rotated
from loop.promotion.ruling import ScoredSystems, rule
from loop.quality.corruption import warnings_of
from loop.settings.model import BY_WEAK_VOTE
from loop.settings.settings import Settings
from loop.training.progress import Stages, silent
from loop.weak.aggregating import votes_stand
from ner.labels import LabelSet
from store import registry
from store.database.columns import utc_now
from store.database.schema import Model, Project
from store.database.session import Store
from store.errors import RefusedError
from store.gold import GoldDocument, fingerprint
from store.registry import models
from store.runs import PROMOTE as PROMOTE_RUN
from store.runs import TrackedRun, tracked
from store.splits import current_epoch

_VOTES_SERVE = (
    "The agreed votes pre-label until a model beats them there. Go on labelling: held-out texts come among the others. "
    'With `[promotion] first_model = "gates"` a first model serves without this comparison'
)


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

    The attempt is deferred where the holdout cannot tell, or where the model in service cannot be asked: the candidate
    waits, and no look is spent. `force_because` promotes whatever the gates say, rejected and retired models too, and
    is kept with the decision.

    Raises RefusedCandidateError for a candidate whose files are shown to be wrong, forced or not: it is marked failed.
    Raises BundleError and JudgingError for what may pass, such as too little memory: the candidate stays one. Raises
    RefusedError when there is no candidate, or another model went into service meanwhile; RunHeldError while a training
    or another promotion is at work, or when another process took this one for dead.
    """
    if force_because is not None and not force_because.strip():
        raise RefusedError("a forced promotion says why", value=force_because, next_step='Add --because "...".')
    with tracked(store, project.id, PROMOTE_RUN, exclusive=True) as run:
        result = _Promotion(run, settings, project, who, threads, force_because, stages).attempt(version)
        run.counts |= {"version": result.attempt.version, "promoted": result.promoted}
    return result


@dataclass(slots=True)
class _Promotion:
    """One attempt at work."""

    run: TrackedRun
    settings: Settings
    project: Project
    who: str
    threads: int
    because: str | None
    stages: Stages
    began: float = field(default_factory=time.monotonic)
    rivals: Rivals = field(default_factory=Rivals)
    votes_serve: bool = False  # the agreed votes, which a first model then has to beat

    @property
    def store(self) -> Store:
        return self.run.store

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(self.project.labels)

    def attempt(self, version: str | None) -> PromotionResult:
        """Everything, in order."""
        if self.because is None:
            self._retire_superseded()
        with self.store.read() as session:
            chosen = choose(models(session, self.project.id), version, forced=self.because is not None)
            incumbent = registry.promoted(session, self.project.id)
            if incumbent is not None and self.settings.promotion.policy == BOUNDED:
                asked = (chosen.version, incumbent.version)
                self.rivals = rivals(session, self.project, self.settings.library, *asked)
        attempt = self._begun(chosen, incumbent)
        contract = self._proven(attempt, chosen)
        if self.because is None and self.settings.promotion.policy == PROVEN:
            attempt = replace(attempt, rotation=renew(self.run, self.project, self.settings.promotion))
        with self.store.read() as session:
            documents = held_out_gold(session, self.project)
            look = next_look(session, self.project, self.settings.promotion)
        if incumbent is None and self.settings.promotion.first_model == BY_WEAK_VOTE:
            self.votes_serve = votes_stand(self.store, self.settings, self.project)
        if self.because is None and (obstacle := self._obstacle(incumbent, documents, look)):
            return self._defer(attempt, obstacle, documents)
        try:
            measured = self._measure(attempt, chosen, incumbent, documents, contract)
        except IncumbentError as error:
            if self.because is None:
                return self._defer(attempt, f"{error} Put it back, roll back, or force", documents)
            measured = self._measure(attempt, chosen, None, documents, contract)
            measured = replace(measured, problems=(str(error),))
        if self.because is None:
            self._retire_superseded(chosen)
        return self._decide(attempt, chosen, incumbent, documents, measured)

    def _begun(self, chosen: Model, incumbent: Model | None) -> Attempt:
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

    def _proven(self, attempt: Attempt, chosen: Model) -> tuple[ContractCheck, ...]:
        self.stages("proving the files")
        library = self.settings.library
        try:
            library.share(chosen.path, chosen.files)  # before it is judged: a backend must be able to fetch it
            folder = library.bundle(chosen.path, chosen.files)
            return check_contract(folder, chosen.version, chosen.files, self.project.labels)
        except WrongFileError as error:
            raise self._refused(attempt, error) from error

    def _retire_superseded(self, by: Model | None = None) -> None:
        """Retire the candidates that are older than a judged model, or than `by`, whose files are shown to be whole."""
        with self.run.transaction() as tx:
            retire_superseded(tx, self.project, self.who, by)
            tx.commit()

    def _obstacle(self, incumbent: Model | None, documents: Sequence[GoldDocument], look: Look) -> str | None:
        """Why the holdout cannot judge now.

        A first model that is compared with nothing, not with the votes either, needs no more than a look.
        """
        tested, alone = self.settings.promotion.policy == PROVEN, incumbent is None and not self.votes_serve
        if alone and (look.alpha > 0 or not documents or not tested):
            return None
        obstacle = too_few(documents, self.types, look, self.settings.promotion)
        return f"{obstacle}. {_VOTES_SERVE}" if obstacle and self.votes_serve else obstacle

    def _refused(self, attempt: Attempt, error: WrongFileError) -> RefusedCandidateError:
        """Note the refusal in the store; the error that is returned carries the attempt, for its report."""
        with self.run.transaction() as tx:
            registry.refuse(tx, self.project.id, attempt.version, reason=str(error), who=self.who)
            tx.commit()
        done = replace(attempt, outcome=REFUSED, reason=str(error), judged_seconds=self._seconds())
        return RefusedCandidateError(error, done)

    def _defer(self, attempt: Attempt, obstacle: str, documents: Sequence[GoldDocument]) -> PromotionResult:
        told = f"{rotated(attempt.rotation)}Not judged yet: {obstacle.removesuffix('.')}."
        done = replace(attempt, reason=told, judged_seconds=self._seconds())
        with self.store.read() as session:
            waits_for = waiting_for(session, self.project, self.settings.promotion)
        against = WEAK_VOTE if self.votes_serve else attempt.incumbent
        figures: dict[str, Any] = {"holdout": fingerprint(documents), "documents": len(documents)}
        figures |= {"waits_for": waits_for, "against": against}
        with self.run.transaction() as tx:
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
                earlier=self.rivals.asked if incumbent is not None else (),
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
        """Spend the look, compare the answers with the gold, and record what follows."""
        self.stages("deciding")
        look = self._look(chosen, documents, self.rivals.anchor or measured.against)
        judged = self._judged(attempt, measured, look)
        done = self._concluded(judged, chosen, incumbent, measured)
        scored = {chosen.version: done.candidate_scores}
        if incumbent is not None and done.against == incumbent.version:
            scored[incumbent.version] = done.incumbent_scores
        known = {version: scores for version, scores in scored.items() if scores is not None}
        known |= done.earlier_scores
        figures = figures_of(done, known, fingerprint(documents)) | {"epoch": self._epoch()}
        if done.comparison is None and documents:
            alone = standard_error_alone(done.documents, known[chosen.version], self.settings.promotion)
            figures |= {"standard_error_alone": alone}
        record(self.run, self.project, done, incumbent, known, figures)
        return PromotionResult(done, figures)

    def _look(self, chosen: Model, documents: Sequence[GoldDocument], against: str | None) -> Look | None:
        """The look, spent before anything of the gold is compared; None where there is no gold, or no look is left.

        against: the version that the claim is made against. Without a look no claim is made. Only the policy "proven"
        needs the claim to promote.
        """
        if not documents:
            return None
        with self.run.transaction() as tx:
            try:
                settings = self.settings.promotion
                look = look_at(tx, self.project, chosen.version, documents, settings, against=against)
            except RefusedError:
                if self.because is None and self.settings.promotion.policy == PROVEN:
                    raise
                return None
            tx.commit()
        return look

    def _judged(self, attempt: Attempt, measured: Measured, look: Look | None) -> Attempt:
        """The attempt with the scores of all systems, what the policy rules, and every gate."""
        texts, against, labels = measured.documents, measured.against, LabelSet(self.types)
        gold = [one.gold for one in texts]
        new = score(gold, [one.candidate for one in texts], labels)
        old = score(gold, [one.incumbent or () for one in texts], labels) if against else None
        earlier = {version: score(gold, said, labels) for version, said in measured.earlier.items()}
        absolute = absolute_gates(
            new,
            self.settings.gates,
            measured.efficiency,
            contract=measured.contract,
            agreement=measured.agreement,
        )
        judged = replace(
            attempt,
            documents=texts,
            against=against,
            candidate_scores=new,
            incumbent_scores=old,
            earlier_scores=earlier,
            gates=absolute,
            contract=measured.contract,
            look=look,
            efficiency=measured.efficiency,
            agreement=measured.agreement,
            machine=measured.machine,
        )
        if old is None or against is None or not new.micro.support:
            return judged
        return self._ruled(judged, new, old, against)

    def _ruled(self, judged: Attempt, new: Scores, old: Scores, against: str) -> Attempt:
        settings, earlier, look = self.settings.promotion, judged.earlier_scores, judged.look
        comparison = compare_by_document(judged.documents, new, old, look, settings)
        compared = ScoredSystems(
            judged.documents,
            new,
            old,
            against,
            earlier,
            anchor=self.rivals.anchor,
            comparison=comparison,
            by_hand=self.rivals.by_hand,
            first=self.rivals.first or against == WEAK_VOTE,
        )
        ruling, gates = rule(compared, look, judged.gates, settings)
        if self.because is not None:
            ruling = replace(ruling, put_back=None, kept_out=None)
        return replace(judged, comparison=comparison, ruling=ruling, gates=gates_of(judged.gates, gates))

    def _concluded(self, judged: Attempt, chosen: Model, incumbent: Model | None, measured: Measured) -> Attempt:
        """The attempt with its outcome, the reason in words, and what nothing is decided by."""
        assert judged.candidate_scores is not None
        outcome, reason = outcome_of(judged, judged.candidate_scores)
        told = f"{rotated(judged.rotation)}{reason}" + "".join(f" ({one})" for one in measured.problems)
        if self.because is not None:
            outcome, told = FORCED, f"Forced by {self.who}, because: {self.because}. {told}"
        self.stages("checking new annotations")
        good = self._last_good(judged.ruling, incumbent)
        checked = check_gold(self.store, self.settings, self.project, chosen, good, self.threads)
        signs = warnings_of(checked, chosen.version) if checked else ()
        self.stages("perturbing texts")
        return replace(
            judged,
            outcome=outcome,
            reason=told,
            robustness=perturbed(self.settings, self.project, chosen, judged.documents, self.threads),
            risks=(*signs, *risks_of(judged, measured, incumbent)),
            gold_check=checked,
            judged_seconds=self._seconds(),
        )

    def _last_good(self, ruling: Ruling | None, incumbent: Model | None) -> Model | None:
        """The model in service; or the earlier model that is clearly better: then what was learned since is doubted."""
        better = (ruling.put_back or ruling.kept_out) if ruling else None
        return next((one for one in self.rivals.asked if one.version == better), incumbent)

    def _epoch(self) -> int:
        with self.store.read() as session:
            return current_epoch(session, self.project.id)

    def _seconds(self) -> float:
        return round(time.monotonic() - self.began, 1)


_OUTCOMES = {PROMOTE: PROMOTED, HOLD: HELD, REJECT: REJECTED}


def outcome_of(judged: Attempt, scores: Scores) -> tuple[str, str]:
    """(the outcome, the reason). A first model, which is compared with nothing, is judged by its gates."""
    reason = reason_of(judged.gates, judged.comparison, scores, judged.against, judged.ruling)
    if judged.ruling is not None:
        return _OUTCOMES[judged.ruling.verdict], reason
    if any(gate.blocks for gate in judged.gates):
        return REJECTED, reason
    return PROMOTED, reason
