from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from store.annotations import append_annotations, history
from store.database.schema import Project
from store.database.session import Store
from store.documents import NewDocument, add_documents, stored_documents
from store.registry import models, promote, promotions
from tests.store import given

pytestmark = given.on_both
WRITERS = 4


def at_once(work: Callable[[int], object]) -> list[object]:
    """What each of several threads returns, all let go together."""
    barrier = Barrier(WRITERS)

    def one(number: int) -> object:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(one, range(WRITERS)))


def test_writers_that_start_models_at_once_get_a_number_each(store: Store, project: Project) -> None:
    versions = at_once(lambda _: given.candidate(store, project.id))
    assert sorted(map(str, versions)) == [f"it-support-{number:04d}" for number in range(1, WRITERS + 1)]


def test_writers_that_add_the_same_documents_at_once_add_them_once(store: Store, project: Project) -> None:
    def add(_: int) -> int:
        with store.transaction() as tx:
            counts = add_documents(tx, project.id, [NewDocument(f"text {i}") for i in range(20)])
            tx.commit()
        return counts.added

    assert sorted(map(int, map(str, at_once(add)))) == [0] * (WRITERS - 1) + [20]
    with store.read() as session:
        assert len(stored_documents(session, project.id)) == 20


def test_writers_that_see_the_same_annotation_at_once_store_one_version(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Fedora"])

    def append(_: int) -> int:
        with store.transaction() as tx:
            counts = append_annotations(tx, [(key, given.annotation((0, 6, "OS")))])
            tx.commit()
        return counts.added

    assert sorted(map(int, map(str, at_once(append)))) == [0] * (WRITERS - 1) + [1]
    with store.read() as session:
        assert len(history(session, key)) == 1


def test_promotions_at_once_leave_one_model_in_service_and_a_whole_history(store: Store, project: Project) -> None:
    versions = [given.candidate(store, project.id) for _ in range(WRITERS)]

    def serve(number: int) -> None:
        with store.transaction() as tx:
            promote(tx, project.id, versions[number], reason="better", who=f"writer {number}")
            tx.commit()

    at_once(serve)
    with store.read() as session:
        decisions = promotions(session, project.id)
        (in_service,) = models(session, project.id, ["promoted"])
        assert session.get_one(Project, project.id).promoted_version == in_service.version == decisions[-1].version
    assert [decision.previous for decision in decisions] == [None, *(one.version for one in decisions[:-1])]
