"""`loop evaluate`: the bundle as served, on the holdout or on a labelled file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loop.evaluation.scores import PRF, Scores, evaluate_bundle
from loop.promotion.attempt import Look
from loop.promotion.holdout import held_out_gold, look_at
from loop.promotion.record import type_scores
from loop.settings.model import PromotionSettings
from ner.documents import LabelledText, content_hash
from ner.errors import InputError
from ner.tagger import Tagger
from store.database.schema import HOLDOUT, Project
from store.database.session import Store
from store.gold import GoldDocument, fingerprint, held_out
from store.registry import CANDIDATE, model, save_scores


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Scores of a version on a dataset: "holdout", or the name of a file; `look`: the one that it cost, or None."""

    version: str
    on: str
    scores: Scores
    look: Look | None = None

    @property
    def rows(self) -> list[tuple[str, PRF]]:
        """The entity types in the order of the label set, then micro and macro."""
        return [*self.scores.per_type.items(), ("micro", self.scores.micro), ("macro", self.scores.macro)]

    def as_json(self) -> dict[str, Any]:
        """`{version, on, documents, micro, macro, types: {type: {precision, recall, f1, support, ...}}}`."""
        table = self.scores.as_dict()
        averages = {name: table.pop(name) for name in ("micro", "macro")}
        return {"version": self.version, "on": self.on, "documents": self.scores.documents, **averages, "types": table}


def evaluate_on_holdout(
    store: Store, project: Project, tagger: Tagger, promotion: PromotionSettings | None = None
) -> Evaluated:
    """Score the model on the holdout's gold, and keep the scores in the store.

    Gold spans of types that the model does not know are left out, as in training. People may choose a candidate by its
    score on the holdout. So the score of a candidate costs a look, as an attempt at its promotion does.
    Raises InputError for a holdout without gold, RefusedError for a candidate when no look is left.
    """
    with store.read() as session:
        documents = held_out_gold(session, project)
    if not documents:
        raise InputError(
            "an evaluation needs gold in the holdout",
            value="none",
            next_step="Import some with --split holdout, label holdout tasks, or name a file with --on.",
        )
    look = _spend(store, project, tagger.version, documents, promotion or PromotionSettings())
    known = set(tagger.labels.types)
    kept = [
        LabelledText(
            item.external_id,
            item.text,
            tuple(span for span in item.spans if span.label in known),
            unannotated=item.unannotated,
        )
        for item in documents
    ]
    done = Evaluated(tagger.version, HOLDOUT, evaluate_bundle(tagger, kept), look)
    with store.transaction() as tx:
        save_scores(tx, tagger.version, HOLDOUT, type_scores(done.scores), fingerprint(documents))
        tx.commit()
    return done


def evaluate_on_documents(
    store: Store,
    project: Project,
    tagger: Tagger,
    documents: Sequence[LabelledText],
    name: str,
    promotion: PromotionSettings | None = None,
) -> Evaluated:
    """Score the model on labelled texts from elsewhere; nothing is stored.

    Where some of the texts stand in the holdout, this shows how a candidate does on the holdout: that costs a look.
    """
    if not documents:
        raise InputError("a file to score by holds a record", value=name, next_step="Check the file.")
    with store.read() as session:
        held = held_out(session, project.id).texts
        judging = held_out_gold(session, project)
    met = any(content_hash(document.text) in held for document in documents)
    seen = met and bool(judging)
    look = _spend(store, project, tagger.version, judging, promotion or PromotionSettings()) if seen else None
    return Evaluated(tagger.version, name, evaluate_bundle(tagger, documents), look)


def _spend(
    store: Store, project: Project, version: str, documents: Sequence[GoldDocument], settings: PromotionSettings
) -> Look | None:
    with store.transaction() as tx:
        if model(tx.session, version).state != CANDIDATE:
            return None
        look = look_at(tx, project, version, documents, settings, evaluating=True)
        tx.commit()
    return look
