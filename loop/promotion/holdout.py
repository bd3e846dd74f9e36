"""The holdout as judge: its gold, what a look costs, how two models compare on it, which differences it can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.orm import Session

from loop.evaluation.scores import Scores, grouped
from loop.evaluation.significance import (
    Comparison,
    alpha_of,
    compare_counts,
    detectable_difference,
    documents_needed,
    permutations_for,
    spent_after,
    standard_error_of,
)
from loop.judging.measured import HeldOutText
from loop.promotion.attempt import Look, Rotation
from loop.settings.model import PromotionSettings
from ner.spans import Span, flat_spans
from store.gold import GoldDocument, fingerprint, gold
from store.holdout import EVALUATE, PROMOTE, HoldoutTerms, count_looks, not_blind, rotate, spend_look, terms_of
from store.registry import DEFER, promotions
from store.runs import TrackedRun
from store.schema import HOLDOUT, POOL, HoldoutLook, Project
from store.session import Transaction
from store.splits import current_epoch, split_sizes

_DIFFERING = 0.25  # of the documents, between a model and the next one: 18 to 37 % were measured


@dataclass(frozen=True, slots=True)
class HoldoutPower:
    """Which differences a holdout can show today.

    epoch, spent and looks: which holdout, and its looks. alpha: of the next look, 0 when there is none. documents and
    entities: with gold. detectable: the smallest true difference in micro-F1 (0..1) that the next look finds in four
    cases of five. detectable is None while nothing was measured on a holdout, and `estimated` from one model alone
    while no two models were compared. wanted: the difference that one would like to see; documents_for_wanted: how many
    documents of the same kind would show that difference.
    """

    epoch: int
    spent: int
    looks: int
    schedule: str
    total: float
    alpha: float
    documents: int
    entities: int
    detectable: float | None
    wanted: float
    documents_for_wanted: int | None
    estimated: bool = False


def terms(settings: PromotionSettings) -> HoldoutTerms:
    """The terms that a holdout gets at its first look."""
    return HoldoutTerms(settings.alpha, settings.looks, settings.spending)


def held_out_gold(session: Session, project: Project) -> list[GoldDocument]:
    """The gold of the current holdout, without texts that were labelled while a pre-label was shown."""
    shown = not_blind(session, project.id)
    return [item for item in gold(session, project.id, [HOLDOUT]) if item.document_id not in shown]


def known_spans(document: GoldDocument, types: Sequence[str]) -> tuple[Span, ...]:
    """The gold spans that judge: those of the project's types, as `ner.spans.flat_spans` gives them."""
    return flat_spans(document.text, (span.without_score() for span in document.spans if span.label in types))


def is_spent(session: Session, project: Project, settings: PromotionSettings) -> bool:
    """Whether the current holdout has no look left."""
    epoch = current_epoch(session, project.id)
    return count_looks(session, project.id, epoch) >= terms_of(session, project.id, epoch, terms(settings)).looks


def next_look(session: Session, project: Project, settings: PromotionSettings) -> Look:
    """What the next look at the current holdout would be; alpha 0 when none is left."""
    epoch = current_epoch(session, project.id)
    number = count_looks(session, project.id, epoch) + 1
    return _look(epoch, number, number, terms_of(session, project.id, epoch, terms(settings)))


def look_at(
    tx: Transaction,
    project: Project,
    version: str,
    documents: Sequence[GoldDocument],
    settings: PromotionSettings,
    *,
    evaluating: bool = False,
) -> Look:
    """Spend a look for a model on the holdout's gold as it is; a second look at the same gold costs nothing.

    Raises RefusedError when the holdout is spent.
    """
    epoch = current_epoch(tx.session, project.id)
    row = spend_look(
        tx,
        project.id,
        epoch,
        version,
        fingerprint(documents),
        default=terms(settings),
        alpha_of=alpha_of,
        purpose=EVALUATE if evaluating else PROMOTE,
    )
    used = count_looks(tx.session, project.id, epoch)
    return _look(epoch, row.number, used, terms_of(tx.session, project.id, epoch, terms(settings)), row)


def renew(run: TrackedRun, project: Project, settings: PromotionSettings) -> Rotation | None:
    """Retire a spent holdout and draw the next one; None when the holdout is not spent, or none can be drawn.

    The next holdout has at least as many documents as the settings ask for, and half as many as are given up.
    """
    with run.transaction() as tx:
        if not is_spent(tx.session, project, settings):
            return None
        done = rotate(tx, project.id, least=settings.least_documents)
        tx.commit()
    return Rotation(**asdict(done)) if done else None


def too_few(
    documents: Sequence[GoldDocument], types: Sequence[str], look: Look, settings: PromotionSettings
) -> str | None:
    """Why a look at these texts would be wasted, None when it would not.

    n documents (groups of texts) have 2^n arrangements, so that no p-value lies below 2^-n. The settings may ask for
    more documents.
    """
    if look.alpha <= 0:
        return (
            f"holdout {look.epoch} is spent ({look.looks} looks), and the pool has too few documents that nobody has "
            "labelled to draw another one from: import more, or a new holdout with `loop import FILE --split holdout`"
        )
    entities = sum(len(known_spans(item, types)) for item in documents)
    if not entities:
        return f"holdout {look.epoch} has no gold entity yet, and a model is in service"
    groups = len({item.group_key for item in documents})
    needed = max(settings.least_documents, math.ceil(-math.log2(look.alpha)))
    if groups < needed:
        return f"holdout {look.epoch} has {groups} documents with gold, and a look takes {needed}"
    return None


def compare_by_document(
    texts: Sequence[HeldOutText], new: Scores, old: Scores, look: Look | None, settings: PromotionSettings
) -> Comparison:
    """Compare two models on the same texts, by document: the texts of one group depend on each other.

    Counted one by one, such texts would say more than they know, and chance would pass more often than it may.
    """
    groups = _groups(texts)
    return compare_counts(
        grouped(new.counts, groups),
        grouped(old.counts, groups),
        seed=settings.seed,
        permutations=permutations_for(look.alpha if look else 1.0, settings.resamples),
        resamples=settings.resamples,
        confidence=settings.confidence,
    )


def standard_error_alone(texts: Sequence[HeldOutText], scores: Scores, settings: PromotionSettings) -> float:
    """The standard error of one model's micro-F1: `loop status` estimates from it while there is no comparison."""
    return standard_error_of(grouped(scores.counts, _groups(texts)), resamples=settings.resamples, seed=settings.seed)


def _groups(texts: Sequence[HeldOutText]) -> list[str]:
    return [one.group or one.name for one in texts]


def waiting_for(session: Session, project: Project, settings: PromotionSettings) -> str:
    """A digest of what a deferred attempt waits for: gold in the holdout or, when it is spent, texts to draw from."""
    found = fingerprint(held_out_gold(session, project))
    return f"{found} {split_sizes(session, project.id)[POOL]}" if is_spent(session, project, settings) else found


def still_deferred(session: Session, project: Project, version: str, settings: PromotionSettings) -> bool:
    """Whether a model was put off, and nothing that it waits for has come since."""
    decisions = [row for row in promotions(session, project.id) if row.version == version]
    if not decisions or decisions[-1].action != DEFER:
        return False
    if decisions[-1].figures.get("waits_for") == waiting_for(session, project, settings):
        return True
    look = next_look(session, project, settings)
    return look.alpha > 0 and too_few(held_out_gold(session, project), project.labels, look, settings) is not None


def holdout_power(session: Session, project: Project, settings: PromotionSettings) -> HoldoutPower:
    """What the current holdout can show, by the standard error of the last comparison on it."""
    look = next_look(session, project, settings)
    documents = held_out_gold(session, project)
    detectable = None
    found = _last_error(session, project, look.epoch)
    if found is not None and documents:
        error, compared, _ = found
        now = error * (compared / len(documents)) ** 0.5
        alpha = look.alpha or alpha_of(settings.spending, settings.alpha, settings.looks, 1)
        detectable = detectable_difference(now, alpha)
    return HoldoutPower(
        epoch=look.epoch,
        spent=min(look.number - 1, look.looks),
        looks=look.looks,
        schedule=look.schedule,
        total=look.total,
        alpha=look.alpha,
        documents=len(documents),
        entities=sum(len(known_spans(item, project.labels)) for item in documents),
        detectable=detectable,
        wanted=settings.wanted,
        documents_for_wanted=documents_needed(len(documents), detectable, settings.wanted) if detectable else None,
        estimated=found is not None and found[2],
    )


def _last_error(session: Session, project: Project, epoch: int) -> tuple[float, int, bool] | None:
    """(the standard error of the last comparison; its documents; whether it is an estimate).

    A comparison on this holdout comes first. While no two models were compared, the difference to a model that answers
    otherwise on a quarter of the documents is estimated. The standard error of a difference between two models that
    have nothing in common is the root of 2 times that of one model.
    """
    known = [row.figures for row in promotions(session, project.id)]
    compared = [figures for figures in known if figures.get("standard_error")]
    here = [figures for figures in compared if (figures.get("look") or {}).get("epoch") == epoch]
    if chosen := (here or compared)[-1:]:
        return chosen[0]["standard_error"], chosen[0]["documents"], False
    alone = [figures for figures in known if figures.get("standard_error_alone")][-1:]
    if not alone:
        return None
    return alone[0]["standard_error_alone"] * math.sqrt(2 * _DIFFERING), alone[0]["documents"], True


def _look(epoch: int, number: int, used: int, agreed: HoldoutTerms, row: HoldoutLook | None = None) -> Look:
    alpha = row.alpha if row else alpha_of(agreed.schedule, agreed.alpha, agreed.looks, number)
    used = min(used, agreed.looks)
    spent = spent_after(agreed.schedule, agreed.alpha, agreed.looks, used)
    return Look(epoch, number, agreed.looks, alpha, agreed.alpha, spent, agreed.schedule, used)
