"""Rollbacks on a Label Studio in memory: what moves, what is sent back, whose annotations are doubted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loop.promotion.rollback import NOT_LINKED, Affected, RolledBack, rollback
from loop.sync.publish import publish
from loop.sync.pull import pull
from loop.sync.requeue import Requeued, offer_again, requeue
from ner.errors import BundleError
from ner.models.bundle import MODEL, load_bundle
from ner.models.model_library import ModelLibrary
from ner.tagger import Tagger
from store import registry
from store.database.schema import Project
from store.database.session import Store, open_store
from store.errors import RefusedError
from store.predictions import withdrawn_since
from store.projects import create_project, link, project_by_id, set_label_config
from store.registry import promotions
from store.runs import begin_run
from tests.fakes import CONFIG, FakeLabelStudio, tiny_bundle
from tests.loop.desk import Desk, make_desk
from tests.store import given

LABELS = ("SOFTWARE", "OS")
TEXTS = ("excel on windows", "windows again", "excel again", "nothing here")
RIGHT = {"excel": "SOFTWARE", "windows": "OS"}
WRONG = {"excel": "OS", "windows": "SOFTWARE"}
ME, OTHER = 1, 2


@dataclass(frozen=True)
class Placement:
    """What a rollback reads of the settings."""

    model_dir: Path

    @property
    def library(self) -> ModelLibrary:
        return ModelLibrary(self.model_dir)


class Queue(FakeLabelStudio):
    """The fake with what a requeueing asks of it, as release 1.23.2 answers."""

    def __init__(self, texts: Sequence[str] = TEXTS) -> None:
        super().__init__(CONFIG, texts)
        self.settings |= {"skip_queue": "REQUEUE_FOR_OTHERS", "maximum_annotations": 1}
        self.made: dict[int, list[dict[str, Any]]] = {}

    def now(self) -> str:
        """This fake's clock is the real one: rollbacks are dated by it."""
        self._clock = datetime.now(UTC)
        return super().now()

    def whoami(self) -> dict[str, Any]:
        return {"id": ME, "email": "one@loop.test"}

    def task_states(self, project_id: int, task_ids: Sequence[int]) -> list[dict[str, Any]]:
        self._called("task_states")
        return [{"overlap": 1, **self.tasks[key]} for key in task_ids if key in self.tasks]

    def update_task(self, task_id: int, **fields: Any) -> dict[str, Any]:
        self._called("update_task")
        self.tasks[task_id] |= {**fields, "updated_at": self.now()}
        return self.tasks[task_id]

    def drafts(self, task_id: int) -> list[dict[str, Any]]:
        return self.made.get(task_id, [])

    def postpone(self, task_id: int, result: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self._called("postpone")
        draft = {"user": "one@loop.test", "result": list(result)}
        self.made.setdefault(task_id, []).append(draft)
        return draft


@dataclass
class Shop:
    """A project in the store and in the fake, and its models."""

    store: Store
    server: Queue
    project: Project
    placed: Placement

    def promoted(self, words: Mapping[str, str], *, published: bool = True) -> str:
        """The next version, in service and, unless told otherwise, published."""
        version = given.promoted(self.store, self.project.id)
        tiny_bundle(self.placed.model_dir / self.project.slug / version, LABELS, words, version=version)
        if published:
            self.publish(version)
        return version

    def publish(self, version: str) -> None:
        pull(self.store, self.server, self.project)
        tagger = Tagger(load_bundle(self.placed.model_dir / self.project.slug / version))
        publish(self.store, self.server, self.project, tagger)
        tagger.close()

    def annotate(
        self, task_id: int, *, by: int = OTHER, result: list[dict[str, Any]] | None = None, version: str | None = None
    ) -> int:
        """Submit what is shown now, or was by `version`, or `result` drawn over it; gives the annotation's id."""
        version = version or self.server.settings["model_version"]
        (shown,) = [one for one in self.server.tasks[task_id]["predictions"] if one["model_version"] == version]
        submitted = shown["result"] if result is None else result
        made = self.server.annotate(task_id, submitted, parent_prediction=shown["id"], completed_by=by)
        return int(made["id"])

    def back(self, **fields: Any) -> RolledBack:
        asked: dict[str, Any] = {"who": "lead", "reason": "misses versions", "client": self.server} | fields
        return rollback(self.store, self.placed, self.project, **asked)

    def in_service(self) -> str | None:
        with self.store.read() as session:
            return project_by_id(session, self.project.id).promoted_version

    def tasks(self) -> list[int]:
        return sorted(self.server.tasks)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    yield from made_shop(tmp_path)


def made_shop(folder: Path, holdout_share: float = 0.0) -> Iterator[Shop]:
    store, server = open_store(f"sqlite:///{folder / 'store.sqlite'}"), Queue()
    with store.transaction() as tx:
        project = create_project(
            tx, "it", label_config=CONFIG, labels=list(LABELS), holdout_share=holdout_share, salt="s"
        )
        link(tx, project.id, server.url, 1)
        tx.commit()
    pull(store, server, project)
    with store.read() as session:
        project = project_by_id(session, project.id)
    yield Shop(store, server, project, Placement(folder / "models"))
    store.close()


def brief(affected: Sequence[Affected]) -> list[tuple[int, str, bool | None]]:
    return [(item.annotation_id, item.version, item.unchanged) for item in affected]


def test_the_pointer_goes_back_only_once_the_bundle_is_verified(shop: Shop) -> None:
    first, second = shop.promoted(RIGHT), shop.promoted(WRONG)
    damaged = shop.placed.model_dir / "it" / first / MODEL
    whole = damaged.read_bytes()
    damaged.write_bytes(b"not what was hashed")
    with pytest.raises(BundleError):
        shop.back()
    assert shop.in_service() == second
    damaged.write_bytes(whole)
    done = shop.back()
    assert (shop.in_service(), done.version, done.previous, done.withdrawn) == (first, first, second, (second,))
    assert (done.who, done.reason) == ("lead", "misses versions")


def test_a_model_of_other_labels_is_refused_naming_both_lists(shop: Shop) -> None:
    shop.promoted(RIGHT)
    second = shop.promoted(WRONG)
    with shop.store.transaction() as tx:
        shop.project = set_label_config(tx, shop.project.id, CONFIG, ["SOFTWARE", "OS", "ERROR"])
        tx.commit()
    with pytest.raises(BundleError) as refused:
        shop.back()
    assert "ERROR" in str(refused.value)
    assert refused.value.exit_code == 9
    assert shop.in_service() == second


def test_open_tasks_show_the_old_version_again_and_only_those_without_its_predictions_are_sent_any(shop: Shop) -> None:
    first, _ = shop.promoted(RIGHT), shop.server.import_tasks(1, [{"data": {"text": "windows, later"}}])
    shop.promoted(WRONG)
    done = shop.back()
    assert done.published is not None
    assert (done.published.created, done.published.carried, done.published.activated) == (1, 4, True)
    assert shop.server.settings["model_version"] == first
    assert done.publish_problem is None


def test_annotations_are_told_by_the_prediction_they_began_from_and_say_whether_they_changed_it(shop: Shop) -> None:
    shop.promoted(RIGHT)
    one, two, three, four = shop.tasks()
    shop.annotate(one)
    second = shop.promoted(WRONG)
    unchanged = shop.annotate(two)
    changed = shop.annotate(three, result=[])
    shop.server.annotate(four, [], completed_by=ME)  # not begun from any pre-label
    done = shop.back()
    assert brief(done.affected) == [(unchanged, second, True), (changed, second, False)]
    assert done.exact
    assert [(item.document, item.task_id, item.annotator, item.gold) for item in done.affected] == [
        (f"task:{two}", two, str(OTHER), True),
        (f"task:{three}", three, str(OTHER), True),
    ]


def test_a_pre_label_that_was_open_on_a_screen_while_another_was_published_is_told_apart(shop: Shop) -> None:
    first, second = shop.promoted(RIGHT), shop.promoted(WRONG)
    one, two, *_ = shop.tasks()
    shop.annotate(one, version=first)
    shop.back()
    late = shop.annotate(two, version=second)
    done = shop.back(to=first)
    assert (brief(done.affected), done.exact) == ([(late, second, True)], True)
    assert brief(shop.back(to=first, client=None).affected) != brief(done.affected)


def test_skips_and_deleted_annotations_are_not_listed(shop: Shop) -> None:
    shop.promoted(RIGHT)
    shop.promoted(WRONG)
    one, two, *_ = shop.tasks()
    shop.annotate(one)
    pull(shop.store, shop.server, shop.project)
    shop.server.delete_annotations(one)
    skipped = shop.annotate(two)
    shop.server.update_annotation(two, skipped, was_cancelled=True)
    assert shop.back().affected == ()


def test_without_the_server_the_rollback_stands_and_the_annotations_are_estimated(shop: Shop) -> None:
    first = shop.promoted(RIGHT)
    one, two, *_ = shop.tasks()
    shop.annotate(one)
    second = shop.promoted(WRONG)
    doubted = shop.annotate(two)
    pull(shop.store, shop.server, shop.project)
    shop.server.fail("project", times=9)
    done = shop.back(requeue=True)
    assert shop.in_service() == first
    assert (done.published, done.requeued) == (None, None)
    assert "told to fail at project" in str(done.publish_problem)
    assert (brief(done.affected), done.exact) == ([(doubted, second, True)], False)


def test_what_is_estimated_was_seen_before_the_new_version_was_published(shop: Shop) -> None:
    shop.promoted(RIGHT)
    second = shop.promoted(WRONG, published=False)
    one, two, *_ = shop.tasks()
    shop.annotate(one)
    shop.server.tasks[one]["is_labeled"] = False  # it waits for a second annotator, and so is sent the new version's
    shop.publish(second)
    doubted = shop.annotate(two)
    pull(shop.store, shop.server, shop.project)
    assert brief(shop.back(client=None).affected) == [(doubted, second, True)]


def test_a_prediction_that_is_gone_makes_the_list_an_estimate(shop: Shop) -> None:
    shop.promoted(RIGHT)
    second = shop.promoted(WRONG)
    one = shop.tasks()[0]
    doubted = shop.annotate(one)
    pull(shop.store, shop.server, shop.project)
    shop.server.tasks[one]["predictions"].clear()
    shop.server.update_annotation(one, doubted, parent_prediction=None)  # as Label Studio does then
    done = shop.back()
    assert (brief(done.affected), done.exact) == ([(doubted, second, True)], False)


def test_a_pull_that_is_at_work_just_then_hinders_nothing(shop: Shop) -> None:
    shop.promoted(RIGHT)
    second = shop.promoted(WRONG)
    doubted = shop.annotate(shop.tasks()[0])
    pull(shop.store, shop.server, shop.project)
    with shop.store.transaction() as tx:
        begin_run(tx, shop.project.id, "pull")
        tx.commit()
    done = shop.back()
    assert (brief(done.affected), done.exact) == ([(doubted, second, True)], True)
    assert (done.publish_problem, done.published is not None) == (None, True)


def test_every_version_between_the_target_and_now_is_withdrawn(shop: Shop) -> None:
    first, second = shop.promoted(RIGHT), shop.promoted(WRONG)
    by_second = shop.annotate(shop.tasks()[0])
    third = shop.promoted({"again": "OS"})
    by_third = shop.annotate(shop.tasks()[1])
    done = shop.back(to=first)
    assert (done.withdrawn, done.previous) == ((second, third), third)
    assert [(item.annotation_id, item.version) for item in done.affected] == [(by_second, second), (by_third, third)]


@pytest.mark.parametrize(
    ("served", "target", "withdrawn"),
    [
        ("12", "1", "2"),
        ("123", "1", "23"),
        ("1213", "1", "3"),
        ("12321", "2", "1"),
        ("123232", "1", "32"),
        ("23", "1", "23"),
    ],
)
def test_withdrawn_is_what_served_after_the_target_last_did(served: str, target: str, withdrawn: str) -> None:
    moved = [registry.Promotion(version=version, action=registry.PROMOTE) for version in served]
    assert "".join(withdrawn_since(moved, target)) == withdrawn


def test_what_the_holdout_was_shown_was_empty_and_is_not_doubted(tmp_path: Path) -> None:
    for shop in made_shop(tmp_path, holdout_share=0.99):
        shop.promoted(RIGHT)
        shop.promoted(WRONG)
        shop.annotate(shop.tasks()[0])
        assert shop.back().affected == ()
        assert shop.back(to=shop.in_service(), client=None).affected == ()


def test_requeued_tasks_ask_for_one_annotator_more_and_keep_every_annotation(shop: Shop) -> None:
    first = shop.promoted(RIGHT)
    shop.promoted(WRONG)
    one, two, *_ = shop.tasks()
    doubted = shop.annotate(one)
    shop.server.annotate(two, [], completed_by=OTHER)
    before = [dict(item) for item in shop.server.tasks[one]["annotations"]]
    done = shop.back(requeue=True)
    assert (done.requeued, shop.server.tasks[one]["is_labeled"], shop.server.tasks[one]["overlap"]) == (1, False, 2)
    assert shop.server.tasks[one]["annotations"] == before
    assert shop.server.tasks[two]["is_labeled"]
    assert done.published is not None
    assert done.published.open == 3  # the one that is back among them, so that it has the old version's predictions
    assert [one["model_version"] for one in shop.server.tasks[one]["predictions"]].count(first) == 1
    assert [item.annotation_id for item in done.affected if item.gold] == [doubted]


def test_the_same_rollback_again_moves_nothing_and_requeues_nothing_twice(shop: Shop) -> None:
    first = shop.promoted(RIGHT)
    shop.promoted(WRONG)
    one = shop.tasks()[0]
    shop.annotate(one, by=ME)
    once = shop.back(requeue=True)
    calls = shop.server.calls.count("update_task")
    again = shop.back(to=first, requeue=True, reason="another", who="another")
    assert (again.version, again.withdrawn, again.reason, again.at) == (first, once.withdrawn, once.reason, once.at)
    assert (again.requeued, again.affected) == (1, once.affected)
    assert shop.server.calls.count("update_task") == calls
    assert len(shop.server.made[one]) == 1
    with shop.store.read() as session:
        assert [move.action for move in promotions(session, shop.project.id)] == ["promote", "promote", "rollback"]


def test_a_version_in_service_by_a_promotion_is_not_rolled_back_to(shop: Shop) -> None:
    shop.promoted(RIGHT)
    second = shop.promoted(WRONG)
    with pytest.raises(RefusedError, match="is in service"):
        shop.back(to=second)


def test_the_user_of_the_key_gets_their_own_tasks_back_as_drafts_of_the_old_version(shop: Shop) -> None:
    shop.promoted(RIGHT)
    shop.promoted(WRONG)
    one, two, *_ = shop.tasks()
    shop.annotate(one, by=ME)
    shop.annotate(two, by=OTHER)
    assert shop.back(requeue=True).requeued == 2
    assert shop.server.made.keys() == {one}
    (draft,) = shop.server.made[one]
    values = [region["value"] for region in draft["result"]]
    assert [(value["start"], value["end"], value["labels"]) for value in values] == [
        (0, 5, ["SOFTWARE"]),
        (9, 16, ["OS"]),
    ]


def test_a_project_that_is_linked_nowhere_rolls_back_all_the_same(shop: Shop) -> None:
    first, _ = shop.promoted(RIGHT), shop.promoted(WRONG)
    shop.project.ls_project_id = None
    done = shop.back()
    assert (shop.in_service(), done.publish_problem, done.affected) == (first, NOT_LINKED, ())


# Putting back, by what the server says of a task

LONG_AGO, BEFORE, SINCE, AFTER = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4))


def annotation(name: int, by: int = OTHER, made: datetime = BEFORE, updated: datetime | None = None, **fields: Any):
    times = {"created_at": made.isoformat(), "updated_at": (updated or made + timedelta(seconds=1)).isoformat()}
    return {"id": name, "completed_by": by, "was_cancelled": False, "ground_truth": False, **times, **fields}


@dataclass
class Case:
    """A task with the annotation 1 in doubt, and what becomes of it."""

    annotations: list[dict[str, Any]]
    outcome: str
    change: tuple[int, bool] | None = None
    is_labeled: bool = True
    overlap: int = 1
    maximum: int = 1
    skip_queue: str = "REQUEUE_FOR_OTHERS"


CASES = {
    "labelled by one": Case([annotation(1)], "opened", (2, False)),
    "labelled by two": Case([annotation(1), annotation(2, 3, LONG_AGO)], "opened", (3, False), overlap=2, maximum=2),
    "another's skip counts where skips are ignored": Case(
        [annotation(1), annotation(2, 3, was_cancelled=True)], "opened", (3, False), skip_queue="IGNORE_SKIPPED"
    ),
    "another's skip does not count where skips are requeued": Case(
        [annotation(1), annotation(2, 3, was_cancelled=True)], "opened", (2, False)
    ),
    "open already": Case([annotation(1)], "waiting", is_labeled=False, overlap=2),
    "another annotation is believed": Case([annotation(1), annotation(2, 3, AFTER)], "settled", overlap=2),
    "ground truth is believed": Case([annotation(1), annotation(2, 3, LONG_AGO, ground_truth=True)], "settled"),
    "the same person annotated it again": Case(
        [annotation(1), annotation(2, made=AFTER)], "closed", (1, True), is_labeled=False, overlap=2
    ),
    "it was looked at again": Case([annotation(1, updated=AFTER)], "closed", (1, True), is_labeled=False, overlap=2),
    "it was looked at again and others are still due": Case(
        [annotation(1, updated=AFTER)], "settled", is_labeled=False, overlap=2, maximum=2
    ),
    "another's overlap is kept for the annotators there are": Case(
        [annotation(1), annotation(2, 3, AFTER), annotation(3, made=AFTER)],
        "closed",
        (2, True),
        is_labeled=False,
        overlap=4,
    ),
    "the annotation is gone": Case([], "closed", (1, False), is_labeled=False, overlap=2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_task_is_opened_left_or_closed_by_the_annotation_that_is_believed_on_it(name: str) -> None:
    case = CASES[name]
    server = Queue(["a text"])
    (task,) = server.tasks
    server.settings |= {"maximum_annotations": case.maximum, "skip_queue": case.skip_queue}
    server.tasks[task] |= {"annotations": case.annotations, "is_labeled": case.is_labeled, "overlap": case.overlap}
    assert requeue(server, 1, {task: [1]}, SINCE) == Requeued(**{case.outcome: (task,)})
    left = (case.overlap, case.is_labeled) if case.change is None else case.change
    assert (server.tasks[task]["overlap"], server.tasks[task]["is_labeled"]) == left
    assert server.tasks[task]["annotations"] == case.annotations
    assert server.calls.count("update_task") == (case.change is not None)


def test_a_task_that_is_gone_or_goes_meanwhile_is_no_error() -> None:
    server = Queue(["a text"])
    (task,) = server.tasks
    server.tasks[task] |= {"annotations": [annotation(1)], "is_labeled": True}
    server.fail("update_task", status=404)
    assert requeue(server, 1, {task: [1], 99: [2]}, SINCE) == Requeued(gone=(99, task))


def test_a_draft_is_made_where_this_user_has_none() -> None:
    server = Queue(["a text", "another"])
    one, two = sorted(server.tasks)
    server.made[one] = [{"user": "two@loop.test"}]
    assert offer_again(server, {one: [], two: []}) == 2
    assert offer_again(server, {one: [], two: []}) == 0


# The command


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


def test_the_command_says_what_is_in_service_and_what_was_withdrawn(desk: Desk) -> None:
    first, second = desk.promoted_model(), desk.promoted_model()
    said = desk.loop("rollback", "--reason", "misses versions", "--json")
    assert said.code == 0
    told = {name: said.json[name] for name in ("version", "previous", "reason", "withdrawn", "affected", "published")}
    assert told == {
        "version": first,
        "previous": second,
        "reason": "misses versions",
        "withdrawn": [second],
        "affected": [],
        "published": None,
    }
    said = desk.loop("rollback", "--to", second)
    assert said.code == 0
    assert f"{second} is in service again, in place of {first}." in said.out
    assert "Warning" not in said.out


def test_the_command_warns_where_label_studio_cannot_be_reached_and_ends_well(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = desk.promoted_model(), desk.promoted_model()
    settings = open_store(f"sqlite:///{desk.home}/loop.db")
    with settings.transaction() as tx:
        link(tx, 1, "http://127.0.0.1:9", 7)
        tx.commit()
    settings.close()
    said = desk.loop("rollback")
    assert said.code == 0
    assert f"{first} is in service again" in said.out
    assert "Warning: Label Studio is not up to date" in said.out
    assert f"loop rollback --to {first}" in said.out
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    monkeypatch.setattr("urllib3.util.Retry.sleep", lambda *_: None)
    said = desk.loop("rollback", "--to", first, "--json")
    assert (said.code, said.json["published"], said.json["exact"]) == (0, None, False)
    assert "127.0.0.1:9" in said.json["publish_problem"]
