"""What databases are known to differ in, and the store must not."""

from __future__ import annotations

from typing import Any

import pytest

from store.annotations import NewSetAside, history, list_set_aside, save_set_aside
from store.database.schema import Project
from store.database.session import Store
from store.documents import NewDocument, add_documents, stored_documents, texts_by_name
from store.projects import all_projects, create_project, project_by_name
from tests.store import given

pytestmark = given.on_both


def nested(levels: int) -> Any:
    value: Any = "\0 and \ud800"
    for _ in range(levels):
        value = {"in": [value]}
    return value


def test_names_that_look_alike_are_names_of_their_own(store: Store) -> None:
    names = ["Müller", "Muller", "müller", "Müller ", "Mu\N{COMBINING DIAERESIS}ller", "M😀ller", "M😁ller"]
    with store.transaction() as tx:
        for number, name in enumerate(names):
            create_project(tx, name, label_config="", labels=[], slug=f"p{number}")
        tx.commit()
    with store.read() as session:
        assert [project_by_name(session, name).slug for name in names] == [f"p{n}" for n in range(len(names))]
        assert [project.name for project in all_projects(session)] == names


def test_the_longest_text_under_the_longest_id_comes_back(store: Store, project: Project) -> None:
    document = NewDocument("😀" * 1_000_000, external_id="😀" * 500, group="ü" * 500, meta={"float": 0.1 + 0.2})
    with store.transaction() as tx:
        add_documents(tx, project.id, [document], "train")
        tx.commit()
    with store.read() as session:
        (found,) = stored_documents(session, project.id)
    assert (found.text, found.external_id, found.group_key) == (document.text, document.external_id, document.group)
    assert found.meta == document.meta


def test_thousands_of_the_longest_ids_can_be_asked_for(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Fedora"])
    with store.read() as session:
        found = texts_by_name(
            session, project.id, ["Fedora", *("😀" * 495 + f"{number:05}" for number in range(9_000))]
        )
    assert key and list(found) == ["Fedora"]


@pytest.mark.parametrize("payload", [None, nested(100), [True, 1.5e300, 2**60, "back\\slash 'quote' \"%s\" :name"]])
def test_json_comes_back_as_it_was_however_deep(store: Store, project: Project, payload: Any) -> None:
    with store.transaction() as tx:
        save_set_aside(tx, project.id, [NewSetAside("x", "y", payload)])
        tx.commit()
    with store.read() as session:
        (found,) = list_set_aside(session, project.id)
    assert found.payload == payload


def test_numbers_come_back_to_the_last_bit(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Fedora"])
    with store.transaction() as tx:
        given.append_annotation(tx, key, given.annotation(lead_time=0.1 + 0.2, parent_prediction=2**60 + 1))
        tx.commit()
    with store.read() as session:
        (found,) = history(session, key)
    assert (found.lead_time, found.parent_prediction) == (0.1 + 0.2, 2**60 + 1)
