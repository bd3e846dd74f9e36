"""A rollback against a real Label Studio: what is shown, whose annotations are doubted, who is offered them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loop.label_studio.client import LabelStudioClient
from loop.promotion.rollback import RolledBack, rollback
from loop.sync.publish import publish
from loop.sync.pull import pull
from ner.models.model_library import ModelLibrary
from store.database.session import Store, open_store
from store.gold import gold
from tests.server.linked import Linked, make_linked, region

RIGHT = {"excel": "SOFTWARE", "windows": "OS"}
WRONG = {"excel": "OS"}
TEXTS = [f"excel w{n} windows" for n in range(1, 7)]
CERTAINTY = {f"w{n}": n / 10 for n in range(1, 7)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield store
    store.close()


@dataclass(frozen=True)
class Placement:
    """What a rollback reads of the settings."""

    model_dir: Path

    @property
    def library(self) -> ModelLibrary:
        return ModelLibrary(self.model_dir)


@dataclass(frozen=True)
class Shop:
    """A linked project in which two models were published, one after the other."""

    linked: Linked
    placed: Placement
    first: str
    second: str
    tasks: list[int]

    def back(self, **fields: Any) -> RolledBack:
        given: dict[str, Any] = {"who": "lead", "reason": "a test", "client": self.linked.client} | fields
        return rollback(self.linked.store, self.placed, self.linked.project, **given)

    def accept(self, client: LabelStudioClient, task_id: int, **fields: Any) -> dict[str, Any]:
        """Submit what this project shows for a task now, as the page does."""
        version = client.project(self.linked.ls_id)["model_version"]
        predictions = client.http.get("/api/predictions/", {"task": task_id})
        (shown,) = [one for one in predictions if one["model_version"] == version]
        given = {"result": shown["result"], "parent_prediction": shown["id"], "lead_time": 1.0}
        return client.submit_annotation(task_id, given | fields)

    def offered(self, client: LabelStudioClient) -> tuple[int, list[str]] | None:
        """The next task, and the versions of the pre-labels that it comes with."""
        task = client.next_task(self.linked.ls_id)
        return None if task is None else (int(task["id"]), [one["model_version"] for one in task["predictions"]])

    def annotations(self, task_id: int) -> list[dict[str, Any]]:
        listed = self.linked.task(task_id)["annotations"]
        return [{name: one[name] for name in ("id", "result", "was_cancelled", "updated_at")} for one in listed]

    def is_labeled(self, task_id: int) -> bool:
        (state,) = self.linked.client.task_states(self.linked.ls_id, [task_id])
        return bool(state["is_labeled"])

    def believed(self) -> dict[str, tuple[tuple[int, int, str], ...]]:
        pull(self.linked.store, self.linked.client, self.linked.project)
        with self.linked.store.read() as session:
            found = gold(session, self.linked.project.id)
        return {item.text: tuple((s.start, s.end, s.label) for s in item.spans) for item in found}


@pytest.fixture
def shop(store: Store, client: LabelStudioClient, tmp_path: Path) -> Shop:
    linked = make_linked(store, client, "rollback")
    tasks = linked.add(TEXTS)
    pull(store, client, linked.project)
    placed = Placement(tmp_path / "models")
    versions = []
    for words in (RIGHT, WRONG):
        tagger = linked.promoted_tagger(placed.model_dir / linked.project.slug, words, CERTAINTY)
        publish(store, client, linked.project, tagger)
        versions.append(tagger.version)
        tagger.close()
    return Shop(linked, placed, *versions, tasks)


def test_open_tasks_show_the_old_version_again_without_being_sent_anything(shop: Shop) -> None:
    done = shop.back()
    assert done.published is not None
    assert (done.published.sent, done.published.carried, done.published.activated) == (0, 6, True)
    assert (done.publish_problem, done.requeued) == (None, None)
    assert shop.offered(shop.linked.client) == (shop.tasks[0], [shop.first])


def test_the_annotations_on_withdrawn_pre_labels_are_told_by_their_predictions(
    shop: Shop, second_client: LabelStudioClient
) -> None:
    one, two, three, *_ = shop.tasks
    unchanged = shop.accept(shop.linked.client, one)
    changed = shop.accept(second_client, two, result=[region(0, 5, "SOFTWARE")])
    shop.linked.annotate(three, (0, 5, "OS"))
    done = shop.back()
    assert done.exact
    assert [(item.annotation_id, item.version, item.unchanged, item.annotator) for item in done.affected] == [
        (unchanged["id"], shop.second, True, str(unchanged["completed_by"])),
        (changed["id"], shop.second, False, str(changed["completed_by"])),
    ]
    assert shop.is_labeled(one)


def test_another_annotator_is_offered_the_task_with_the_old_pre_label_and_closes_it(
    shop: Shop, second_client: LabelStudioClient
) -> None:
    one, two, *rest = shop.tasks
    for task in (one, two):
        shop.accept(second_client, task)
    before = {task: shop.annotations(task) for task in (one, two)}
    assert shop.back(requeue=True).requeued == 2
    assert {task: shop.annotations(task) for task in (one, two)} == before
    assert shop.believed()[TEXTS[0]] == ((0, 5, "OS"),)

    for task in (one, two):
        assert shop.offered(shop.linked.client) == (task, [shop.first])
        shop.accept(shop.linked.client, task)
        assert shop.is_labeled(task)
    assert shop.offered(shop.linked.client) == (rest[0], [shop.first])
    assert shop.believed()[TEXTS[0]] == ((0, 5, "SOFTWARE"), (9, 16, "OS"))
    assert shop.offered(second_client) not in [(one, [shop.first]), (two, [shop.first])]


def test_the_one_annotator_whose_key_it_is_gets_their_task_back_as_a_draft_once_the_rest_is_done(shop: Shop) -> None:
    me = shop.linked.client
    one, *rest = shop.tasks
    shop.accept(me, one)
    assert shop.back(requeue=True).requeued == 1
    for task in rest:
        assert shop.offered(me) == (task, [shop.first])
        shop.accept(me, task)
    assert shop.offered(me) == (one, [shop.first])
    (draft,) = me.drafts(one)
    assert [(part["value"]["start"], part["value"]["labels"]) for part in draft["result"]] == [
        (0, ["SOFTWARE"]),
        (9, ["OS"]),
    ]
    me.submit_annotation(one, {"result": draft["result"], "draft_id": draft["id"], "lead_time": 1.0})
    assert shop.offered(me) is None
    assert shop.believed()[TEXTS[0]] == ((0, 5, "SOFTWARE"), (9, 16, "OS"))

    assert not shop.is_labeled(one)  # it asks for two annotators, and had one, twice
    assert shop.back(to=shop.first, requeue=True).requeued == 0
    assert shop.is_labeled(one)
    assert len(shop.annotations(one)) == 2


def test_the_same_rollback_again_finds_the_same_and_changes_nothing(
    shop: Shop, second_client: LabelStudioClient
) -> None:
    one, two, three, *_ = shop.tasks
    shop.accept(shop.linked.client, one)
    shop.accept(second_client, two)
    shop.accept(second_client, three)
    shop.linked.act("delete_tasks", [three])
    once = shop.back(requeue=True)
    states = shop.linked.client.task_states(shop.linked.ls_id, shop.tasks)
    again = shop.back(to=shop.first, requeue=True)
    assert shop.linked.client.task_states(shop.linked.ls_id, shop.tasks) == states
    assert (again.affected, again.requeued, once.requeued) == (once.affected, 2, 2)
    assert len(shop.linked.client.drafts(one)) == 1
    assert {item.task_id for item in once.affected} == {one, two}
