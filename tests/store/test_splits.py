from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from store.database.schema import HOLDOUT, POOL, TRAIN, Project, Split
from store.database.session import Store
from store.documents import NewDocument, add_documents, stored_documents
from store.errors import RefusedError
from store.registry import TrainedOn
from store.splits import current_epoch, draws_holdout
from tests.store import given


def groups(held: bool, count: int) -> list[str]:
    """The first group keys that the known salt and share draw, or do not."""
    names = (f"g{i}" for i in range(10_000))
    return [name for _, name in zip(range(count), (n for n in names if drawn(n) is held), strict=False)]


def drawn(group: str) -> bool:
    return draws_holdout(given.SALT, group, 0.5)


def standing(store: Store, project: Project) -> Mapping[str, str]:
    with store.read() as session:
        return {item.external_id: item.split for item in stored_documents(session, project.id)}


def add(store: Store, project: Project, split: str, *items: tuple[str, str, str | None]) -> list[int]:
    """Commit documents (id, text, group)."""
    with store.transaction() as tx:
        documents = [NewDocument(text, external_id=name, group=group) for name, text, group in items]
        added = add_documents(tx, project.id, documents, split)
        tx.commit()
    return list(added.document_ids)


def test_the_draw_takes_the_share_of_groups() -> None:
    held = sum(draws_holdout("any salt", f"group {i}", 0.2) for i in range(10_000))
    assert abs(held - 2_000) < 5 * (10_000 * 0.2 * 0.8) ** 0.5


@for_all(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_a_smaller_one_drew(salt: str, group: str, one: float, other: float) -> None:
    if draws_holdout(salt, group, min(one, other)):
        assert draws_holdout(salt, group, max(one, other))


@for_all(st.text(), st.text())
def test_a_share_of_nothing_draws_nothing_and_of_all_draws_all(salt: str, group: str) -> None:
    assert not draws_holdout(salt, group, 0.0)
    assert draws_holdout(salt, group, 1.0)


def test_salts_draw_differently() -> None:
    one, other = ({i for i in range(1000) if draws_holdout(salt, str(i), 0.5)} for salt in ("one", "other"))
    assert abs(len(one & other) - 250) < 5 * (1000 * 0.25 * 0.75) ** 0.5


def test_pool_documents_of_one_group_stand_together(store: Store, project: Project) -> None:
    held, free = groups(True, 1)[0], groups(False, 1)[0]
    add(
        store, project, POOL, ("a", "text a", held), ("b", "text b", free), ("c", "text c", held), ("d", "text d", free)
    )
    assert standing(store, project) == {"a": HOLDOUT, "b": POOL, "c": HOLDOUT, "d": POOL}


def test_equal_texts_without_a_group_stand_together(store: Store, project: Project) -> None:
    names = [f"{copy}{i}" for i in range(20) for copy in "ab"]
    add(store, project, POOL, *((name, f"text {name[1:]}", None) for name in names))
    where = standing(store, project)
    assert [where[f"a{i}"] for i in range(20)] == [where[f"b{i}"] for i in range(20)]
    assert set(where.values()) == {POOL, HOLDOUT}


def test_a_document_follows_its_group_even_after_the_share_was_raised(store: Store, project: Project) -> None:
    free = groups(False, 1)[0]
    add(store, project, POOL, ("before", "one", free))
    with store.transaction() as tx:
        tx.session.get_one(Project, project.id).holdout_share = 0.999999
        tx.commit()
    add(store, project, POOL, ("after", "two", free), ("new", "three", None))
    assert standing(store, project) == {"before": POOL, "after": POOL, "new": HOLDOUT}


def test_a_pool_document_joins_its_group_in_the_holdout_and_never_one_in_train(store: Store, project: Project) -> None:
    held, free = groups(True, 1)[0], groups(False, 1)[0]
    add(store, project, HOLDOUT, ("asked", "one", free))
    add(store, project, TRAIN, ("learned", "two", held))
    add(store, project, POOL, ("joins", "three", free), ("stays", "four", held))
    assert standing(store, project) == {"asked": HOLDOUT, "learned": TRAIN, "joins": HOLDOUT, "stays": POOL}


@pytest.mark.parametrize("asked", [(TRAIN, HOLDOUT), (HOLDOUT, TRAIN)])
def test_a_group_that_was_put_on_both_sides_is_held_out_from_then_on(
    store: Store, project: Project, asked: tuple[str, str]
) -> None:
    for split in asked:
        add(store, project, split, (split, f"text in {split}", "g"))
    add(store, project, POOL, ("new", "new text", "g"))
    assert standing(store, project)["new"] == HOLDOUT


@pytest.mark.parametrize("split", [TRAIN, HOLDOUT])
def test_an_explicit_split_wins_over_the_draw(store: Store, project: Project, split: str) -> None:
    add(store, project, split, *((name, name, name) for name in groups(True, 3) + groups(False, 3)))
    assert set(standing(store, project).values()) == {split}


def test_an_unknown_split_is_refused(store: Store, project: Project) -> None:
    with pytest.raises(RefusedError, match="pool, train, holdout"):
        add(store, project, "test", ("a", "text", None))


@pytest.mark.parametrize("again", [POOL, TRAIN, HOLDOUT])
@pytest.mark.parametrize("first", [POOL, TRAIN, HOLDOUT])
def test_adding_again_never_moves_a_document(store: Store, project: Project, first: str, again: str) -> None:
    items = [(name, f"text {name}", None) for name in "abcdef"]
    add(store, project, first, *items)
    before = standing(store, project)
    with store.transaction() as tx:
        documents = [NewDocument(text, external_id=name) for name, text, _ in items]
        counts = add_documents(tx, project.id, documents, again)
        tx.commit()
    assert standing(store, project) == before
    assert (counts.added, counts.known) == (0, 6)
    elsewhere = () if again == POOL else tuple(name for name in "abcdef" if before[name] != again)
    assert counts.kept_elsewhere == elsewhere


def trained(store: Store, project: Project, *document_ids: int) -> str:
    version = given.candidate(store, project.id)
    given.trained_on(store, version, *(TrainedOn(key, None, "train", "weak") for key in document_ids))
    return version


def test_a_text_that_was_trained_on_never_enters_the_holdout(store: Store, project: Project) -> None:
    (known,) = add(store, project, TRAIN, ("t", "seen text", "seen group"))
    trained(store, project, known)
    held = groups(True, 1)[0]
    with store.transaction() as tx:
        documents = [NewDocument("seen text", external_id="asked"), NewDocument("new text", external_id="fine")]
        counts = add_documents(tx, project.id, documents, HOLDOUT)
        tx.commit()
    add(store, project, POOL, ("drawn", "seen text", held), ("other", "another", held))
    assert counts.not_held_out == ("asked",)
    assert counts.splits == {TRAIN: 1, HOLDOUT: 1}
    assert standing(store, project) == {"t": TRAIN, "asked": TRAIN, "fine": HOLDOUT, "drawn": POOL, "other": HOLDOUT}


def test_a_group_that_was_trained_on_never_enters_the_holdout(store: Store, project: Project) -> None:
    (known,) = add(store, project, TRAIN, ("t", "seen text", "seen group"))
    trained(store, project, known)
    add(store, project, HOLDOUT, ("asked", "new text", "seen group"))
    assert standing(store, project)["asked"] == TRAIN


def test_new_holdout_documents_join_the_current_epoch(store: Store, project: Project) -> None:
    first = add(store, project, HOLDOUT, ("a", "one", None))
    (second,) = add(store, project, TRAIN, ("b", "two", None))
    with store.transaction() as tx:
        given.move(tx, first, TRAIN)
        given.move(tx, [second], HOLDOUT, epoch=2)
        tx.commit()
    (third,) = add(store, project, HOLDOUT, ("c", "three", None))
    with store.read() as session:
        assert current_epoch(session, project.id) == 2
        assert session.get_one(Split, third).epoch == 2
