"""One walk through everything that the store does, in the order of the loop, on each database."""

from __future__ import annotations

from typing import Any

from ner.spans import Span
from store.annotations import LABEL_STUDIO, NewSetAside, mend_set_aside, save_set_aside, sync_annotations
from store.counts import project_counts
from store.database.schema import HOLDOUT, POOL, TRAIN, Project
from store.database.session import Store
from store.documents import count_open, names_by_text, open_documents, stored_documents
from store.gold import count_fresh_gold, count_unpublished, fingerprint, gold, training_gold
from store.holdout import HoldoutTerms, count_looks, looks_of, not_blind, rotate, spend_look, terms_of
from store.predictions import (
    NewPrediction,
    begun_from_prelabels,
    confirm_predictions,
    published_on,
    ranks,
    save_predictions,
    save_ranks,
)
from store.projects import link, project_by_id, project_by_ls_id, set_label_config, set_overlap, set_watermark
from store.registry import (
    TrainedOn,
    TypeScore,
    lineage,
    models,
    promote,
    promotions,
    reject,
    rollback,
    save_scores,
    save_training_items,
    scores,
    trained_on,
)
from store.runs import add_hint, forget_runs, handle_hints, last_run, pending_hints, tracked
from store.splits import current_epoch, split_sizes
from store.tasks import count_live_tasks, upsert_tasks
from store.weak.answers import NewAnswer, keep_answers
from store.weak.sources import SourceVotes, add_votes, enter_source, muted_sources, set_muted
from store.weak.votes import StoredVote, replace_votes, votes
from tests.store import given


def labelled(number: int, **fields: Any) -> Any:
    return given.annotation(
        (0, 4, "OS"), name=str(number), source=LABEL_STUDIO, creator="7", source_created_at=given.at(59), **fields
    )


@given.on_both
def test_everything_from_a_link_to_a_rollback(store: Store, project: Project) -> None:
    key = project.id
    # A pull.
    with store.transaction() as tx:
        hint = add_hint(tx, 17, "ANNOTATION_CREATED")
        link(tx, key, "http://studio/", 17)
        set_label_config(tx, key, given.CONFIG, ["OS", "SOFTWARE"])
        set_overlap(tx, key, {"maximum_annotations": 1})
        tx.commit()
    with tracked(store, key, "pull", exclusive=True) as pulled, pulled.transaction() as tx:
        tasks = upsert_tasks(tx, key, [given.task(n, f"arch {n}", group=f"g{n // 2}") for n in range(1, 41)])
        seen = {tasks.document_ids[n]: [labelled(n)] for n in range(1, 31)}
        assert sync_annotations(tx, LABEL_STUDIO, seen).added == 30
        assert save_set_aside(tx, key, [NewSetAside("label_studio:99", "no text", {"data": {"\0": "\ud800"}})]) == 1
        assert mend_set_aside(tx, key, ["label_studio:99"], ["no text"]) == 1
        set_watermark(tx, key, given.at(30))
        handle_hints(tx, [hint])
        assert forget_runs(tx, key, "pull", keep=0) == 0
        tx.commit()
    with store.read() as session:
        assert project_by_ls_id(session, 17) is not None and pending_hints(session, 17) == []
        assert last_run(session, key, "pull") is not None
        assert count_live_tasks(session, key) == 40 and count_open(session, key) == 40
        sizes = split_sizes(session, key)
        assert sizes[POOL] and sizes[HOLDOUT] and sizes[POOL] + sizes[HOLDOUT] == 40
        counts = project_counts(session, key)
        assert (counts.gold + counts.holdout_gold, dict(counts.set_aside)) == (30, {})
        learned, judged = training_gold(session, key).documents, gold(session, key, [HOLDOUT])
        assert count_fresh_gold(session, key, None) == len(learned) > 0
        assert list(names_by_text(session, key, [learned[0].content_hash]).values()) == [[learned[0].external_id]]
        unlabelled = open_documents(session, key, [POOL], tasks_only=True)
    with store.transaction() as tx:
        replace_votes(tx, key, {"words": [StoredVote(unlabelled[0].document_id, "words", Span(0, 4, "OS"), "f" * 8)]})
        enter_source(tx, key, "pattern", "pattern", "f" * 64)
        add_votes(tx, key, [item.document_id for item in unlabelled], [SourceVotes("pattern", "f" * 64, [])])
        set_muted(tx, key, "pattern", True, "loop", {"without": 0.5})
        assert keep_answers(tx, key, [NewAnswer("0" * 64, "[]", 0.25, 12, 3, 0.001)]) == 1
        tx.commit()
    # Two trainings, each of them judged by a look at the holdout and promoted.
    versions = []
    for _ in range(2):
        versions.append(given.candidate(store, key, parent=versions[-1] if versions else None))
        with store.transaction() as tx:
            items = [TrainedOn(item.document_id, item.annotation_version_id, "train", "gold") for item in learned]
            save_training_items(tx, versions[-1], items)
            epoch = current_epoch(tx.session, key)
            terms = HoldoutTerms(0.05, 2, "even")
            spend_look(tx, key, epoch, versions[-1], fingerprint(judged), default=terms, alpha_of=lambda *_: 0.025)
            save_scores(tx, versions[-1], HOLDOUT, [TypeScore("micro", 0.5, 0.25, 1 / 3, 4, 1, 2)], "0")
            promote(tx, key, versions[-1], reason="better", who="lead", figures={"difference": 0.1})
            tx.commit()
    with store.transaction() as tx:
        reject(tx, key, given.candidate_in(tx, key), reason="worse", who="lead")
        tx.commit()
    with store.read() as session:
        assert [model.state for model in models(session, key)] == ["retired", "promoted", "rejected"]
        assert [model.version for model in lineage(session, versions[1])] == versions[::-1]
        assert len(trained_on(session, versions[1])) == len(learned)
        assert [row.f1 for row in scores(session, versions[1], HOLDOUT)] == [1 / 3]
        assert terms_of(session, key, 1, HoldoutTerms(1.0, 9, "other")).looks == 2 == count_looks(session, key, 1)
        assert [look.number for look in looks_of(session, key, 1)] == [1, 2]
        assert count_unpublished(session, key, versions[1]) == 40
    # A publishing, a spent holdout, a rollback.
    with store.transaction() as tx:
        documents = stored_documents(tx.session, key)
        shown = [NewPrediction(item.document_id, 0.5, (Span(0, 4, "OS"),)) for item in documents]
        assert save_predictions(tx, versions[1], shown) == 40
        assert confirm_predictions(tx, versions[1], [item.document_id for item in documents]) == 40
        save_ranks(tx, versions[1], [(item.document_id, 0.5) for item in documents])
        tx.commit()
    with store.transaction() as tx:
        rotated = rotate(tx, key)
        assert rotated is None or rotated.epoch == 2
        decision = rollback(tx, key, reason="it fails on tickets", who="lead")
        assert (decision.version, decision.previous) == (versions[0], versions[1])
        tx.commit()
    with store.read() as session:
        assert project_by_id(session, key).promoted_version == versions[0]
        assert [row.action for row in promotions(session, key)] == ["promote", "promote", "reject", "rollback"]
        assert [row.rank for row in ranks(session, versions[1])] == list(range(40))
        assert len(published_on(session, {item.document_id for item in documents})) == 40
        held = {item.document_id for item in stored_documents(session, key, [HOLDOUT])}
        assert begun_from_prelabels(session, key) == [] and not_blind(session, key) <= held
        assert muted_sources(session, key) == {"pattern"}
        assert votes(session, key) and split_sizes(session, key)[TRAIN] == (rotated.retired if rotated else 0)
