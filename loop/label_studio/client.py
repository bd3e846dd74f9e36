"""The calls that this project makes to Label Studio, each as one method; times are aware UTC datetimes.

What each call really does was tried on release 1.23.2. Every method raises LabelStudioError (exit code 5) when the
server cannot be reached or refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TypeVar

from loop.label_studio.http import LabelStudioError, LabelStudioHttp, Patience

__all__ = [
    "LabelStudioClient",
    "LabelStudioError",
    "Patience",
    "TaskPage",
    "TaskQuery",
    "format_time",
    "parse_time",
]

UNCERTAINTY = "Uncertainty sampling"
# The server's `include` names fields at every depth: a task's own, then an annotation's, else those come empty.
_PULLED = (
    "id,data,meta,is_labeled,created_at,updated_at,annotations,"
    "result,completed_by,was_cancelled,ground_truth,lead_time,parent_prediction"
)
_STATES = "id,is_labeled,overlap,annotations,completed_by,was_cancelled,ground_truth,created_at,updated_at"
_PREDICTED = "id,predictions"
_IDS_IN_A_QUERY = 300  # the query stands in the URL
_PROJECTS_ON_A_PAGE = 100
_ALL_IDS = 1_000_000  # Label Studio sets no upper limit to a page

_SHOWN = 200

Json = dict[str, Any]
_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class TaskPage:
    """Tasks as the server lists them, and how many match in all."""

    tasks: tuple[Json, ...]
    total: int


@dataclass(frozen=True)
class TaskQuery:
    """Which tasks, and in which order. Exactly one of `since`, `at` and `ids` is given.

    since: updated at that moment or later (`strictly`: later), oldest first. at: updated at exactly that moment, with
    an id above `after_id`, by id (bulk actions stamp thousands of tasks alike). ids: these tasks, by id.
    """

    since: datetime | None = None
    strictly: bool = False
    at: datetime | None = None
    after_id: int = 0
    ids: tuple[int, ...] = ()

    @property
    def order(self) -> str:
        """The column that the answer is ordered by."""
        return "updated_at" if self.since is not None else "id"

    @property
    def filters(self) -> list[Json]:
        """As the data manager's API takes them."""
        if self.since is not None:
            operator = "greater" if self.strictly else "greater_or_equal"
            return [_filter("updated_at", operator, "Datetime", format_time(self.since))]
        if self.at is not None:
            exactly = _filter("updated_at", "equal", "Datetime", format_time(self.at))
            return [exactly, _filter("id", "greater", "Number", self.after_id)]
        return [_filter("id", "in_list", "Number", list(self.ids))]


class LabelStudioClient:
    """One server as one user sees it."""

    def __init__(self, url: str, api_key: str, *, patience: Patience | None = None) -> None:
        self.http = LabelStudioHttp(url, api_key, patience=patience)
        self.url = self.http.url

    def __repr__(self) -> str:
        return f"LabelStudioClient({self.url!r})"

    def whoami(self) -> Json:
        """The user that the key belongs to."""
        return _object(self.http.get("/api/current-user/whoami"))

    # Projects

    def project(self, project_id: int) -> Json:
        """A project's settings and counters."""
        found = _object(self.http.get(f"/api/projects/{project_id}/"))
        _field(found, "id", int), _field(found, "label_config", str)
        return found

    def projects(self, title: str) -> list[Json]:
        """The projects with exactly this title that the user sees."""
        found: list[Json] = []
        page = 1
        while True:
            asked = {"title": title, "page": page, "page_size": _PROJECTS_ON_A_PAGE}
            answer = _object(self.http.get("/api/projects/", asked))
            listed = _objects(_field(answer, "results", list))
            found += [one for one in listed if one.get("title") == title]
            if answer.get("next") is None:
                return found
            page += 1

    def create_project(self, title: str, label_config: str, **fields: Any) -> Json:
        """A new project. Label Studio wants titles of 3 to 50 characters."""
        made = _object(self.http.post("/api/projects/", {"title": title, "label_config": label_config, **fields}))
        _field(made, "id", int)
        return made

    def update_project(self, project_id: int, **fields: Any) -> Json:
        """Change some settings; `model_version` must already stand on a prediction, or name a backend."""
        return _object(self.http.patch(f"/api/projects/{project_id}/", fields))

    def task_number(self, project_id: int) -> int:
        """How many tasks the project holds now."""
        return _field(self.project(project_id), "task_number", int)

    # Tasks

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Import `tasks` (`{"data": {...}}` each) in one call; the number created."""
        answer = self.http.post(f"/api/projects/{project_id}/import", list(tasks), bulk=True)
        return _field(answer, "task_count", int)

    def tasks_page(self, project_id: int, query: TaskQuery, page_size: int) -> TaskPage:
        """The first `page_size` tasks of a query, with data and annotations; drafts and predictions are left out."""
        return self._list(project_id, query.filters, query.order, page_size, include=_PULLED, fields="all")

    def stamps(self, project_id: int, query: TaskQuery, page_size: int) -> TaskPage:
        """As `tasks_page`, but only `id` and `updated_at`: served even when a task's data cannot be."""
        return self._list(project_id, query.filters, query.order, page_size, include="id,updated_at")

    def count_tasks(self, project_id: int, first_id: int, last_id: int) -> int:
        """How many tasks have an id in `first_id..last_id`, both included."""
        return self._list(project_id, [_id_range(first_id, last_id)], "id", 1, include="id").total

    def task_ids(self, project_id: int, first_id: int, last_id: int) -> set[int]:
        """The ids of the tasks in `first_id..last_id`, both included (10,000 ids: about 4 s)."""
        page = self._list(project_id, [_id_range(first_id, last_id)], "id", _ALL_IDS, include="id", bulk=True)
        return {int(task["id"]) for task in page.tasks}

    def existing(self, project_id: int, task_ids: Sequence[int]) -> set[int]:
        """Those of these ids that are tasks of the project."""
        return {int(task["id"]) for task in self._tasks(project_id, task_ids, include="id")}

    def task_states(self, project_id: int, task_ids: Sequence[int]) -> list[Json]:
        """Those of these tasks that are there: `is_labeled`, `overlap`, and each annotation without its result."""
        return self._tasks(project_id, task_ids, include=_STATES, fields="all")

    def update_task(self, task_id: int, **fields: Any) -> Json:
        """Change some fields of a task. `overlap` alone does not make the server derive `is_labeled` anew."""
        return _object(self.http.patch(f"/api/tasks/{task_id}/", fields))

    def prediction_versions(self, project_id: int, task_ids: Sequence[int]) -> dict[int, str]:
        """The model version of every prediction of these tasks, by the prediction's id (300 tasks: 0.4 s)."""
        listed = self.predictions(project_id, task_ids).values()
        return {int(one["id"]): str(one.get("model_version")) for predicted in listed for one in predicted}

    def predictions(self, project_id: int, task_ids: Sequence[int]) -> dict[int, list[Json]]:
        """The predictions (`id`, `model_version`, `result`, `score`) of those of these tasks that are there."""
        tasks = self._tasks(project_id, task_ids, include=_PREDICTED, fields="all")
        found = {int(task["id"]): _objects(task.get("predictions")) for task in tasks}
        for one in chain.from_iterable(found.values()):
            _field(one, "id", int)
        return found

    def open_tasks_without(self, project_id: int, version: str, others: Iterable[str] = ()) -> set[int]:
        """The ids of unlabelled tasks that carry no prediction of `version`; `others`: versions that tasks carry too.

        The server compares parts of names. Where another name contains this one, a regular expression over all of a
        task's versions compares whole names; a task without predictions has no versions, and the first search finds it.
        """
        searches: list[tuple[str, str, Any]] = [("not_contains", "List", [version])]
        if any(version in other for other in others if other != version):
            searches.append(("regex", "String", f"^((?!(^|,){re.escape(version)}(,|$)).)*$"))
        found: set[int] = set()
        for operator, kind, value in searches:
            items = [
                _filter("is_labeled", "equal", "Boolean", "false"),
                _filter("predictions_model_versions", operator, kind, value),
            ]
            page = self._list(project_id, items, "id", _ALL_IDS, include="id", bulk=True)
            found |= {int(task["id"]) for task in page.tasks}
        return found

    def _tasks(self, project_id: int, task_ids: Sequence[int], **params: Any) -> list[Json]:
        """Those of these tasks that are there; `params` say which fields of them."""
        found: list[Json] = []
        for begin in range(0, len(task_ids), _IDS_IN_A_QUERY):
            ids = tuple(task_ids[begin : begin + _IDS_IN_A_QUERY])
            page = self._list(project_id, TaskQuery(ids=ids).filters, "id", len(ids), **params)
            found += page.tasks
        return found

    def _list(
        self, project_id: int, items: list[Json], order: str, page_size: int, *, bulk: bool = False, **params: str
    ) -> TaskPage:
        query = {"filters": {"conjunction": "and", "items": items}, "ordering": [f"tasks:{order}"]}
        asked = {"project": project_id, "page_size": page_size, "resolve_uri": "false", "query": json.dumps(query)}
        answer = _object(self.http.get("/api/tasks", {**asked, **params}, bulk=bulk))
        tasks = _objects(_field(answer, "tasks", list))
        for task in tasks:
            _field(task, "id", int)
        return TaskPage(tuple(tasks), _field(answer, "total", int))

    # Labelling

    def next_task(self, project_id: int) -> Json | None:
        """The task that Label Studio offers this user next, locked for them; None when the queue is empty."""
        try:
            return _object(self.http.get(f"/api/projects/{project_id}/next/"))
        except LabelStudioError as error:
            if error.status == 404 and "No Project matches" not in str(error):
                return None
            raise

    def submit_annotation(self, task_id: int, annotation: Mapping[str, Any]) -> Json:
        """Store an annotation (`result`, `lead_time`, `parent_prediction`, `was_cancelled`) as this user's."""
        return _object(self.http.post(f"/api/tasks/{task_id}/annotations/", dict(annotation)))

    def drafts(self, task_id: int) -> list[Json]:
        """The drafts on a task, everybody's."""
        return _objects(self.http.get(f"/api/tasks/{task_id}/drafts"))

    def postpone(self, task_id: int, result: Sequence[Mapping[str, Any]]) -> Json:
        """Make a postponed draft of this user's on a task; the server makes none for other users."""
        draft = {"result": list(result), "was_postponed": True, "lead_time": 0}
        return _object(self.http.post(f"/api/tasks/{task_id}/drafts", draft))

    # Predictions

    def import_predictions(self, project_id: int, predictions: Iterable[Mapping[str, Any]]) -> int:
        """Store predictions in one call (each call recounts the whole project); the number that were created."""
        answer = self.http.post(f"/api/projects/{project_id}/import/predictions", list(predictions), bulk=True)
        return _field(answer, "created", int)

    def delete_prediction(self, prediction_id: int) -> None:
        """Remove a prediction, if it is there; annotations that were begun from it lose their `parent_prediction`."""
        try:
            self.http.delete(f"/api/predictions/{prediction_id}/")
        except LabelStudioError as error:
            if error.status != 404:
                raise

    def model_versions(self, project_id: int) -> dict[str, int]:
        """How many predictions each model version has."""
        counts = _object(self.http.get(f"/api/projects/{project_id}/model-versions/"))
        return {version: _field(counts, version, int) for version in counts}

    # Backends and webhooks

    def backends(self, project_id: int) -> list[Json]:
        """The project's ML backends; reading makes the server ask each for its health and set-up."""
        return _objects(self.http.get("/api/ml", {"project": project_id}))

    def add_backend(self, project_id: int, url: str, title: str, user: str = "", password: str = "") -> Json:
        """Connect an ML backend; the server calls its /health and /setup before it answers."""
        body: Json = {"project": project_id, "url": url, "title": title}
        if user:
            body |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        return _object(self.http.post("/api/ml", body))

    def delete_backend(self, backend_id: int) -> None:
        """Remove an ML backend; its webhook stays."""
        self.http.delete(f"/api/ml/{backend_id}")

    def webhooks(self, project_id: int) -> list[Json]:
        """The project's webhooks."""
        return _objects(self.http.get("/api/webhooks/", {"project": project_id}))

    def create_webhook(self, project_id: int, url: str, headers: Mapping[str, str]) -> Json:
        """A webhook for every action."""
        return _object(self.http.post("/api/webhooks/", {"project": project_id, **webhook_fields(url, headers)}))

    def update_webhook(self, webhook_id: int, url: str, headers: Mapping[str, str]) -> Json:
        """Set a webhook to every action, active; all fields are sent, since a PATCH clears the actions it omits."""
        return _object(self.http.patch(f"/api/webhooks/{webhook_id}/", webhook_fields(url, headers)))

    def delete_webhook(self, webhook_id: int) -> None:
        """Remove a webhook."""
        self.http.delete(f"/api/webhooks/{webhook_id}/")


def webhook_fields(url: str, headers: Mapping[str, str]) -> Json:
    """What this project wants of a webhook."""
    return {
        "url": url,
        "headers": dict(headers),
        "send_payload": True,
        "send_for_all_actions": True,
        "is_active": True,
        "actions": [],
    }


def format_time(moment: datetime) -> str:
    """As Label Studio's filters want it: UTC with six fractional digits, even when they are zeros (else it fails)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """A time of Label Studio's as an aware UTC datetime."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _filter(column: str, operator: str, kind: str, value: Any) -> Json:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _id_range(first_id: int, last_id: int) -> Json:
    return _filter("id", "in", "Number", {"min": first_id, "max": last_id})


def _object(answer: Any) -> Json:
    if not isinstance(answer, dict):
        raise _unlike("an object", type(answer).__name__)
    return answer


def _objects(answer: Any) -> list[Json]:
    if not isinstance(answer, list):
        raise _unlike("a list", type(answer).__name__)
    return [_object(item) for item in answer]


def _field(answer: Any, key: str, kind: type[_Kind]) -> _Kind:
    value = _object(answer).get(key)
    if not isinstance(value, kind):
        raise _unlike(f"an object whose {key!r} is of type {kind.__name__}", f"{key} {value!r}"[:_SHOWN])
    return value


def _unlike(wanted: str, value: str) -> LabelStudioError:
    return LabelStudioError(
        f"Label Studio answers {wanted} here",
        value=value,
        next_step="Check that LABEL_STUDIO_URL is a Label Studio server of release 1.23.",
    )
