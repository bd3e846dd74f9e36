"""The holdout as judge: its gold, what a look costs, how two models compare on it, what an attempt waits for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from loop.evaluation.scores import Scores, grouped
from loop.evaluation.significance import (
    Comparison,
    alpha_of,
    compare_counts,
    permutations_for,
    spent_after,
    standard_error_of,
)
from loop.judging.measured import WEAK_VOTE, HeldOutText
from loop.promotion.attempt import Look
from loop.promotion.policies import PROVEN, PolicyLimits
from loop.settings.model import BY_WEAK_VOTE, PromotionSettings
from ner.spans import Span, flat_spans
from store.database.schema import HOLDOUT, POOL, HoldoutLook, Project
from store.database.session import Store, Transaction
from store.errors import RefusedError
from store.gold import GoldDocument, fingerprint, gold
from store.holdout import EVALUATE, PROMOTE, HoldoutTerms, Rotated, count_looks, not_blind, rotate, spend_look, terms_of
from store.registry import DEFER, HOLD, promoted, promotions
from store.runs import RENEW, TrackedRun, tracked
from store.splits import current_epoch, split_sizes

GROWN = 1.25  # the documents of a holdout, before a held candidate is judged on them again


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
    against: str | None = None,
    evaluating: bool = False,
) -> Look:
    """Spend a look for a model on the holdout's gold as it is; a second look at the same gold costs nothing.

    against: the version that a claim is made against, None without a claim. A look allows one test, so that a test
    against another version than before takes a look of its own. Raises RefusedError when the holdout is spent.
    """
    epoch, seen = current_epoch(tx.session, project.id), fingerprint(documents)
    if against is not None and _tested_against(tx.session, project, version, seen) not in (None, against):
        seen = f"{seen} against {against}"
    row = spend_look(
        tx,
        project.id,
        epoch,
        version,
        seen,
        default=terms(settings),
        alpha_of=alpha_of,
        purpose=EVALUATE if evaluating else PROMOTE,
    )
    used = count_looks(tx.session, project.id, epoch)
    return _look(epoch, row.number, used, terms_of(tx.session, project.id, epoch, terms(settings)), row)


def _tested_against(session: Session, project: Project, version: str, seen: str) -> str | None:
    """What a model was first tested against on the gold of that fingerprint; None where it was not tested on it."""
    for decision in promotions(session, project.id):
        ruling, same = decision.figures.get("ruling"), decision.figures.get("holdout") == seen
        if decision.version == version and same and ruling and ruling["p_value"] is not None:
            return str(ruling["anchor"]["version"])
    return None


def renew(
    run: TrackedRun, project: Project, settings: PromotionSettings, *, even_if_left: bool = False
) -> Rotated | None:
    """Retire a spent holdout and draw the next one; None when the holdout is not spent, or none can be drawn.

    even_if_left: retire a holdout that has looks left, too. The next holdout has at least as many documents as the
    settings ask for, and half as many as are given up. Raises RefusedError for a holdout that has judged no model.
    """
    with run.transaction() as tx:
        if not even_if_left and not is_spent(tx.session, project, settings):
            return None
        if not count_looks(tx.session, project.id, current_epoch(tx.session, project.id)):
            raise RefusedError(
                "a holdout is renewed after it has judged a model", value="no look is spent", next_step="Nothing to do."
            )
        done = rotate(tx, project.id, least=settings.least_documents)
        tx.commit()
    return done


def renew_by_hand(store: Store, project: Project, settings: PromotionSettings) -> Rotated:
    """Retire the holdout, spent or not, and draw the next one, while no promotion or training is at work.

    Raises RefusedError where the holdout has judged no model, or where the pool has too few documents to draw from;
    RunHeldError while another run holds the project.
    """
    with tracked(store, project.id, RENEW, exclusive=True) as run:
        done = renew(run, project, settings, even_if_left=True)
        if done is None:
            raise RefusedError(
                "the next holdout has at least half as many documents as the labelled ones that are given up",
                value="the pool has too few documents that nobody has labelled and no model was trained on",
                next_step="Import more, or a new holdout with `loop import FILE --split holdout`.",
            )
    return done


def limits_of(settings: PromotionSettings) -> PolicyLimits:
    """The limits that the settings give a policy."""
    return PolicyLimits(settings.average_loss, settings.first_loss, settings.least_documents)


def too_few(
    documents: Sequence[GoldDocument], types: Sequence[str], look: Look, settings: PromotionSettings
) -> str | None:
    """Why a look at these texts would be wasted, None when it would not.

    Where promotions rest on a test, a look has to be left, and n documents (groups of texts) have 2^n arrangements, so
    that no p-value lies below 2^-n. The settings may ask for more documents.
    """
    tested = settings.policy == PROVEN
    if tested and look.alpha <= 0:
        return (
            f"holdout {look.epoch} is spent ({look.looks} looks), and the pool has too few documents that nobody has "
            "labelled to draw another one from: import more, or a new holdout with `loop import FILE --split holdout`"
        )
    entities = sum(len(known_spans(item, types)) for item in documents)
    if not entities:
        return f"holdout {look.epoch} has no gold entity yet to compare the candidate on"
    groups = len({item.group_key for item in documents})
    needed = max(settings.least_documents, math.ceil(-math.log2(look.alpha)) if tested else 0)
    if groups < needed:
        return f"holdout {look.epoch} has {groups} documents with gold, and a look takes {needed}"
    return None


def compare_by_document(
    texts: Sequence[HeldOutText], new: Scores, old: Scores, look: Look | None, settings: PromotionSettings
) -> Comparison:
    """Compare two models on the same texts, by document: the texts of one group depend on each other.

    Counted one by one, such texts would say more than they know, and chance would pass more often than it may.
    """
    groups = groups_of(texts)
    return compare_counts(
        grouped(new.counts, groups),
        grouped(old.counts, groups),
        seed=settings.seed,
        permutations=permutations_for(look.alpha if look and look.alpha else 1.0, settings.resamples),
        resamples=settings.resamples,
        confidence=settings.confidence,
    )


def standard_error_alone(texts: Sequence[HeldOutText], scores: Scores, settings: PromotionSettings) -> float:
    """The standard error of one model's micro-F1: `loop status` estimates from it while there is no comparison."""
    return standard_error_of(grouped(scores.counts, groups_of(texts)), resamples=settings.resamples, seed=settings.seed)


def groups_of(texts: Sequence[HeldOutText]) -> list[str]:
    """The key of the document that each text belongs to."""
    return [one.group or one.name for one in texts]


def waiting_for(session: Session, project: Project, settings: PromotionSettings) -> str:
    """A digest of what an attempt waits for: gold in the holdout or, where a spent one is replaced, texts to draw."""
    found = fingerprint(held_out_gold(session, project))
    replaced = settings.policy == PROVEN and is_spent(session, project, settings)
    return f"{found} {split_sizes(session, project.id)[POOL]}" if replaced else found


def still_waiting(session: Session, project: Project, version: str, settings: PromotionSettings) -> bool:
    """Whether a model was put off or held, and what it waits for has not come since."""
    decisions = [row for row in promotions(session, project.id) if row.version == version]
    if not decisions:
        return False
    if decisions[-1].action == HOLD:
        return _still_held(session, project, decisions[-1].figures, settings)
    return decisions[-1].action == DEFER and _still_deferred(session, project, decisions[-1].figures, settings)


def _still_held(session: Session, project: Project, figures: Mapping[str, Any], settings: PromotionSettings) -> bool:
    """Whether a held candidate would be judged on much the same gold, against the same model, by the same rule.

    Each time that a candidate is judged on new gold costs a look, so a few documents more are no reason.
    """
    ruling = figures["ruling"]
    allowed = limits_of(settings).loss(first=ruling.get("first", False))
    same_rule = (ruling["policy"], ruling["average_loss"]) == (settings.policy, allowed)
    same_epoch = figures["epoch"] == current_epoch(session, project.id)
    serving = promoted(session, project.id)
    same_opponent = figures["against"] == (serving.version if serving else WEAK_VOTE)
    if not same_rule or not same_epoch or not same_opponent:
        return False
    documents = len({item.group_key for item in held_out_gold(session, project)})
    return documents < max(GROWN * int(ruling["documents"]), settings.least_documents)


def _still_deferred(
    session: Session, project: Project, figures: Mapping[str, Any], settings: PromotionSettings
) -> bool:
    if figures.get("against") == WEAK_VOTE and settings.first_model != BY_WEAK_VOTE:
        return False
    if figures.get("waits_for") == waiting_for(session, project, settings):
        return True
    look = next_look(session, project, settings)
    judges = look.alpha > 0 or settings.policy != PROVEN
    return judges and too_few(held_out_gold(session, project), project.labels, look, settings) is not None


def _look(epoch: int, number: int, used: int, agreed: HoldoutTerms, row: HoldoutLook | None = None) -> Look:
    alpha = row.alpha if row else alpha_of(agreed.schedule, agreed.alpha, agreed.looks, number)
    used = min(used, agreed.looks)
    spent = spent_after(agreed.schedule, agreed.alpha, agreed.looks, used)
    return Look(epoch, number, agreed.looks, alpha, agreed.alpha, spent, agreed.schedule, used)
