"""From tasks to predictions: one result for each task, in order. A held-out task gets an empty result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ml_backend.holdout import place_unseen
from ml_backend.models.live_model import LiveModels, Served, check_labels
from ml_backend.payload import (
    Asked,
    Limits,
    NoModelError,
    PredictRequest,
    TooLargeError,
    UnknownProjectError,
    parse_config,
    read_tasks,
)
from ner.errors import BundleError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import clip_score, to_result
from ner.tagger import Tagger, Tagging
from store.errors import StoreError

_LINK = "Link the project with `loop connect`, or remove this backend from it in Label Studio."


def find_project(served: Mapping[int, Sequence[Served]], ls_project_id: int) -> Served:
    """What is served for a project of Label Studio; raises UnknownProjectError unless exactly one project is linked."""
    found = served.get(ls_project_id, ())
    if not found:
        raise UnknownProjectError(
            "a project in Label Studio is linked to one in the store", value=ls_project_id, next_step=_LINK
        )
    if len(found) > 1:
        raise UnknownProjectError(
            "one project of the store is linked to an id in Label Studio",
            value=f"{ls_project_id}: {', '.join(f'{one.linked.name} on {one.linked.ls_url}' for one in found)}",
            next_step="Give each Label Studio server a backend and a store of its own.",
        )
    return found[0]


def predict(
    request: PredictRequest, served: Served, live: LiveModels, limits: Limits, seconds: float
) -> list[dict[str, Any]]:
    """[{"result", "score", "model_version"}] for the request's tasks, by the model that is `served` for their project.

    seconds: how long the answer may take. Raises RefusalError or InputError, naming the rule, when there is no model
    for the request, a task breaks a rule, or the time is up.
    """
    deadline = time.monotonic() + seconds
    config = request.label_config or parse_config(served.linked.label_config)
    tagger = _tagger(served, config)
    asked = read_tasks(request.tasks, config, limits)
    held = _held(asked, served, live)
    free = [item.text for item, out in zip(asked, held, strict=True) if not out]
    taggings = iter(_tag(tagger, free, deadline))
    version = tagger.version
    return [
        _empty(served.holdout.score(item), version) if out else _prediction(next(taggings), item.text, config, version)
        for item, out in zip(asked, held, strict=True)
    ]


def predict_free(
    tagger: Tagger, tasks: list[dict[str, Any]], config: LabelConfig, limits: Limits, seconds: float
) -> list[dict[str, Any]]:
    """As `predict`, by a tagger that belongs to no store: no task is held out."""
    deadline = time.monotonic() + seconds
    _check_labels(tagger, config)
    texts = [item.text for item in read_tasks(tasks, config, limits)]
    taggings = _tag(tagger, texts, deadline)
    return [_prediction(one, text, config, tagger.version) for one, text in zip(taggings, texts, strict=True)]


def _tagger(served: Served, config: LabelConfig) -> Tagger:
    tagger = served.tagger
    if tagger is None and served.problem is not None:
        raise NoModelError(
            f"the promoted model of project {served.linked.name!r} can be served",
            value=f"{served.linked.version}: {served.problem.rule}",
            next_step=served.problem.next_step or "See the backend's log.",
        )
    if tagger is None:
        raise NoModelError(
            "a project has a promoted model before it is asked for predictions",
            value=served.linked.name,
            next_step="Run `loop retrain`, `loop evaluate` and `loop promote`, or `loop run`.",
        )
    _check_labels(tagger, config)
    return tagger


def _check_labels(tagger: Tagger, config: LabelConfig) -> None:
    try:
        check_labels(tagger.labels.types, config.labels)
    except BundleError as error:
        raise NoModelError(error.rule, value=error.value, next_step=error.next_step) from None


def _held(asked: Sequence[Asked], served: Served, live: LiveModels) -> list[bool]:
    """Whether each task is held out. A task without an id is not in Label Studio, so nobody will label it."""
    held = [False if item.task_id is None else served.holdout.is_held(item.task_id) for item in asked]
    unseen = [index for index, known in enumerate(held) if known is None]
    if unseen:
        placed = _place([asked[index] for index in unseen], served, live)
        for index, out in zip(unseen, placed, strict=True):
            held[index] = out
    return [bool(out) for out in held]


def _place(asked: Sequence[Asked], served: Served, live: LiveModels) -> list[bool]:
    """Whether tasks that are not in the store will be held out; without the store, by what was last read of it.

    A store that could not be read a moment ago is not asked: a server that is cut off would hold up every answer.
    """
    if live.store_problem is not None:
        return [served.holdout.will_hold(item) for item in asked]
    try:
        with live.store().read() as session:
            return place_unseen(session, served.linked.project_id, asked)
    except StoreError:
        return [served.holdout.will_hold(item) for item in asked]


def _tag(tagger: Tagger, texts: list[str], deadline: float) -> list[Tagging]:
    def check() -> None:
        if time.monotonic() > deadline:
            raise TooLargeError(
                "a request is answered before Label Studio hangs up",
                value=f"texts: {len(texts):,}, characters: {sum(map(len, texts)):,}",
                next_step="Send fewer tasks in a request, or shorter texts.",
            )

    return [tagger.tag(texts[0], check)] if len(texts) == 1 else tagger.tag_many(texts, check=check)


def _prediction(tagging: Tagging, text: str, config: LabelConfig, version: str) -> dict[str, Any]:
    result = to_result(tagging.spans, text, config)
    return {"result": result, "score": clip_score(tagging.confidence), "model_version": version}


def _empty(score: float, version: str) -> dict[str, Any]:
    return {"result": [], "score": clip_score(score), "model_version": version}
