"""Of a large project, a training reads the labelled texts and some others; whoever is asked about gets an answer."""

from __future__ import annotations

import pytest

from loop.settings.template import config_of_labels
from loop.weak import aggregating
from loop.weak.aggregating import voted_project, weak_documents
from loop.weak.agreed import agreed_votes
from ner.documents import content_hash
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.schema import Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.projects import create_project
from store.weak.sources import BY_THE_LOOP, enter_source, set_muted
from store.weak.votes import StoredVote, replace_votes

TEXTS = [f"Excel on machine {number}" for number in range(20)]
EXCEL = Span(0, 5, "SOFTWARE")
# The ids of documents. The votes on the silent ones do not count.
VOTED, SILENT, LABELLED = range(1, 16), range(16, 21), (1, 2)


@pytest.fixture
def project(store: Store, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(aggregating, "MOST_UNLABELLED", 4)
    monkeypatch.setattr(aggregating, "_PAGE", 3)
    with store.transaction() as tx:
        made = create_project(tx, "weak", label_config=config_of_labels("SOFTWARE,OS"), labels=["SOFTWARE", "OS"])
        add_documents(tx, made.id, [NewDocument(text, f"d{n}") for n, text in enumerate(TEXTS)], "train")
        cast = {"words": [StoredVote(document, "words", EXCEL, "1") for document in VOTED]}
        cast |= {"muted": [StoredVote(document, "muted", EXCEL, "1") for document in SILENT]}
        cast |= {"old": [StoredVote(document, "old", Span(0, 5, "GONE"), "1") for document in SILENT]}
        replace_votes(tx, made.id, cast)
        for name in cast:
            enter_source(tx, made.id, name, "pattern", "1")
        set_muted(tx, made.id, "muted", True, BY_THE_LOOP)
        append_annotations(tx, [(one, NewAnnotation(FILE, f"gold {one}", [], spans=(EXCEL,))) for one in LABELLED])
        tx.commit()
    return made


def by_chance(documents: range) -> list[int]:
    """Those that nobody has labelled, in the order in which they are drawn."""
    others = [one for one in documents if one not in LABELLED]
    return sorted(others, key=lambda one: content_hash(TEXTS[one - 1]))


def test_a_training_reads_the_labelled_texts_and_a_bounded_number_of_others(store: Store, project: Project):
    drawn = sorted([*LABELLED, *by_chance(VOTED)[:4]])
    assert [item.document_id for item in weak_documents(store, project)] == drawn


def test_a_training_that_wants_more_texts_gets_more(store: Store, project: Project):
    drawn = sorted([*LABELLED, *by_chance(VOTED)[:6]])
    assert [item.document_id for item in weak_documents(store, project, texts=6)] == drawn


def test_texts_without_a_vote_that_counts_are_read_last(store: Store, project: Project):
    read = {one.document_id for one in voted_project(store, project, len(by_chance(VOTED)) + 2).documents}
    assert read == {*VOTED, *by_chance(SILENT)[:2]}
    assert {one.document_id for one in voted_project(store, project, None).documents} == {*VOTED, *SILENT}


def test_every_text_gets_its_agreed_votes_whether_it_was_learned_from_or_not(store: Store, project: Project):
    agreed = agreed_votes(store, project)
    assert agreed is not None
    said = [tuple(span.without_score() for span in one.spans) for one in agreed.tag_many(TEXTS)]
    assert said == [(EXCEL,)] * len(VOTED) + [()] * len(SILENT)
