"""Labelling functions vote on what may be trained on; the majority of the votes is what is learned from."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop.settings.template import config_of_labels
from loop.weak.applying import label_weakly, weak_documents
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import OUTSIDE_CONFIG
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.documents import NewDocument, add_documents
from store.projects import create_project, set_label_config
from store.schema import Project
from store.session import Store
from store.votes import StoredVote, replace_votes, votes

HEAD = "from ner.spans import Span\nfrom weak_labeling.functions import labeling_function\n"
FUNCTION = (
    "@labeling_function(name={name!r})\n"
    "def {name}(text):\n"
    "    at = text.find({word!r})\n"
    "    return [Span(at, at + {length}, {label!r})] if at >= 0 else None\n"
)


def functions(path: Path, *rows: tuple[str, str, str]) -> Path:
    """A file with a function for each (name, word, label)."""
    parts = [FUNCTION.format(name=name, word=word, length=len(word), label=label) for name, word, label in rows]
    path.write_text(HEAD + "\n".join(parts))
    return path


@pytest.fixture
def project(store: Store) -> Project:
    with store.transaction() as tx:
        made = create_project(tx, "weak", label_config=config_of_labels("SOFTWARE,OS"), labels=["SOFTWARE", "OS"])
        texts = ("Excel on Windows", "the printer", "Excel")
        add_documents(tx, made.id, [NewDocument(text, f"d{n}") for n, text in enumerate(texts)], "train")
        add_documents(tx, made.id, [NewDocument("Windows held out", "h")], "holdout")
        tx.commit()
    return made


def cast(store: Store, project: Project) -> set[tuple[int, str, str]]:
    with store.read() as session:
        return {(vote.document_id, vote.source, vote.span.label) for vote in votes(session, project.id)}


def test_functions_vote_on_all_but_the_holdout_and_abstain_where_they_find_nothing(
    store: Store, project: Project, tmp_path: Path
):
    path = functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE"), ("windows", "Windows", "OS"))
    done = label_weakly(store, project, path)
    assert (done.documents, done.voted, done.votes) == (3, 2, {"excel": 2, "windows": 1})
    assert cast(store, project) == {(1, "excel", "SOFTWARE"), (1, "windows", "OS"), (3, "excel", "SOFTWARE")}


def test_a_labelled_text_in_doubt_is_not_learned_from_weakly(store: Store, project: Project, tmp_path: Path):
    label_weakly(store, project, functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE")))
    assert [item.document_id for item in weak_documents(store, project)] == [1, 3]
    doubt = NotLearned(OUTSIDE_CONFIG, {"value": {"labels": ["App"]}})
    with store.transaction() as tx:
        append_annotations(tx, [(1, NewAnnotation(FILE, "gold", [], None, set_aside=[doubt]))])
        tx.commit()
    assert [item.document_id for item in weak_documents(store, project)] == [3]


def test_votes_of_functions_that_are_gone_go_and_votes_that_came_with_records_stay(
    store: Store, project: Project, tmp_path: Path
):
    with store.transaction() as tx:
        replace_votes(tx, project.id, {"file": [StoredVote(2, "file", Span(4, 11, "OS"), "import")]})
        tx.commit()
    label_weakly(store, project, functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE"), ("w", "Windows", "OS")))
    label_weakly(store, project, functions(tmp_path / "f.py", ("w", "Windows", "OS")))
    assert cast(store, project) == {(1, "w", "OS"), (2, "file", "OS")}


def test_what_is_learned_from_is_the_majority_on_texts_with_a_vote(store: Store, project: Project, tmp_path: Path):
    rows = [("a", "Excel", "SOFTWARE"), ("b", "Excel", "SOFTWARE"), ("c", "Excel", "OS")]
    label_weakly(store, project, functions(tmp_path / "f.py", *rows))
    learned = weak_documents(store, project)
    assert [(item.text, item.spans) for item in learned] == [
        ("Excel on Windows", (Span(0, 5, "SOFTWARE"),)),
        ("Excel", (Span(0, 5, "SOFTWARE"),)),
    ]


def test_votes_for_labels_that_are_gone_are_not_learned_from(store: Store, project: Project, tmp_path: Path):
    label_weakly(store, project, functions(tmp_path / "f.py", ("w", "Windows", "OS")))
    with store.transaction() as tx:
        changed = set_label_config(tx, project.id, config_of_labels("SOFTWARE"), ["SOFTWARE"])
        tx.commit()
    assert weak_documents(store, changed) == []


def test_a_file_that_does_not_run_leaves_the_votes_as_they_were(store: Store, project: Project, tmp_path: Path):
    label_weakly(store, project, functions(tmp_path / "f.py", ("w", "Windows", "OS")))
    (tmp_path / "f.py").write_text("1 / 0")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        label_weakly(store, project, tmp_path / "f.py")
    assert cast(store, project) == {(1, "w", "OS")}
