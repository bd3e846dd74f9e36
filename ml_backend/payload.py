"""Read and check what Label Studio sends: JSON bodies, project ids, the tasks to predict. No input or output here.

A request that breaks a rule is refused: each refusal has its HTTP status and a JSON body that names the rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ner.documents import check_text
from ner.errors import InputError, RuleError, show
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import task_text
from store.documents import read_key

_LARGEST_ID = 2**63 - 1
# A longer config is parsed for each request: the cache must stay small, whatever is sent.
_KEPT_CONFIG_CHARS = 20_000
_SHOWN = 200


class RefusalError(RuleError):
    """A request that cannot be answered; `status` is a 4xx."""

    status = 400


class UnknownProjectError(RefusalError):
    """No project of the store is linked to the request's project, or more than one project is."""

    status = 404


class NoModelError(RefusalError):
    """The project has no model in service, or its label config has other labels than the model.

    Label Studio opens the task all the same. It stores no empty prediction, so it asks again later.
    """

    status = 409


class TooSlowError(RefusalError):
    """A body that did not arrive in time."""

    status = 408


class TooLargeError(RefusalError):
    """More than one request may hold, or more than can be answered in time."""

    status = 413


class WrongTypeError(RefusalError):
    """A body whose Content-Type is not JSON."""

    status = 415


def status_of(error: RuleError) -> int:
    """The HTTP status for a refusal: a 4xx where the client is at fault, else 503."""
    if isinstance(error, RefusalError):
        return error.status
    return 400 if isinstance(error, InputError) else 503


def as_json(error: RuleError) -> dict[str, Any]:
    """The refusal in the shape of `error_body`."""
    return error_body(error.rule, error.value, error.next_step)


def error_body(rule: str, value: object = None, next_step: str = "") -> dict[str, Any]:
    """The shape that every error answer has; a long value is cut to its first 200 characters."""
    shown = value if isinstance(value, str) or value is None else show(value)
    if isinstance(value, str) and len(value) > _SHOWN:
        shown = f"{value[:_SHOWN]}… ({len(value)} characters)"
    return {"error": {"rule": rule, "value": shown, "next_step": next_step}}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold: tasks, and code points in one text."""

    max_tasks: int
    max_text_chars: int


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A checked request. `label_config`: the project's config as Label Studio has it now; None when none was sent."""

    ls_project_id: int
    tasks: list[dict[str, Any]]
    label_config: LabelConfig | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One task to predict: its text, its id in Label Studio (None from other callers), and its group, if it has one."""

    text: str
    task_id: int | None
    group: str | None


def check_content_type(given: str) -> None:
    """Raise WrongTypeError unless a Content-Type header names JSON."""
    kind = given.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise WrongTypeError(
            "a body is sent as application/json",
            value=kind or "no Content-Type",
            next_step="Set the Content-Type header.",
        )


def check_length(length: int, max_bytes: int) -> None:
    """Raise TooLargeError for a body of more than `max_bytes`."""
    if length > max_bytes:
        raise TooLargeError(f"a body has at most {max_bytes:,} bytes", next_step="Send fewer tasks in a request.")


def read_json(body: bytes) -> dict[str, Any]:
    """The object a request body holds; raises InputError for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError("a request body is JSON", value=reason, next_step="Send a JSON object in UTF-8.") from None
    if not isinstance(value, dict):
        raise InputError("a request body is a JSON object", value=value)
    return value


def read_project_id(value: object) -> int:
    """The id in `"7.1795219575"` (id and time of creation), `"7"` or `7`; raises InputError for anything else."""
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,19})(\.[0-9]{1,19})?", value)):
        value = int(found.group(1))
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_ID:
        raise InputError('a project is "<id>.<time of creation>"', value=value, next_step='Such as "7.1795219575".')
    return value


def read_predict(payload: Mapping[str, Any], limits: Limits) -> PredictRequest:
    """Check a /predict body. The texts of the tasks are left to `read_tasks`, which needs the label config."""
    project = read_project_id(payload.get("project"))
    tasks = payload.get("tasks")
    if not isinstance(tasks, list):
        raise InputError("`tasks` is a list of tasks", value=tasks)
    if len(tasks) > limits.max_tasks:
        raise TooLargeError(
            f"a request holds at most {limits.max_tasks:,} tasks", value=f"{len(tasks):,}", next_step="Send fewer."
        )
    params = payload.get("params")
    if params is not None and not isinstance(params, dict):
        raise InputError("`params` is an object", value=params)
    config = payload.get("label_config")
    if config is not None and not isinstance(config, str):
        raise InputError("`label_config` is a string of XML", value=config)
    return PredictRequest(project, tasks, parse_config(config) if config else None)


def parse_config(xml: str) -> LabelConfig:
    """`LabelConfig.parse`, cached: every request carries its project's config, which seldom changes."""
    return _parse_once(xml) if len(xml) <= _KEPT_CONFIG_CHARS else LabelConfig.parse(xml)


@lru_cache(maxsize=32)
def _parse_once(xml: str) -> LabelConfig:
    return LabelConfig.parse(xml)


def read_tasks(tasks: list[dict[str, Any]], config: LabelConfig, limits: Limits) -> list[Asked]:
    """The tasks to predict, in order; an empty or blank text is "". Raises InputError naming the first bad task."""
    return [_read_task(index, task, config, limits) for index, task in enumerate(tasks)]


def _read_task(index: int, task: object, config: LabelConfig, limits: Limits) -> Asked:
    try:
        text = task_text(task, config)
        if not text or text.isspace():
            text = ""
        elif len(text) > limits.max_text_chars:
            raise TooLargeError(
                f"a text has at most {limits.max_text_chars:,} characters",
                value=f"{len(text):,} characters",
                next_step="Split it into tasks.",
            )
        else:
            check_text(text)
        task_id = _task_id(task)
    except (InputError, TooLargeError) as error:
        raise type(error)(f"task {index}: {error.rule}", value=error.value, next_step=error.next_step) from None
    return Asked(text, task_id, _group(task))


def _task_id(task: Any) -> int | None:
    found = task.get("id")
    if found is None or (isinstance(found, int) and not isinstance(found, bool) and abs(found) <= _LARGEST_ID):
        return found
    raise InputError("a task's `id` is a whole number", value=found)


def _group(task: Any) -> str | None:
    """What ties a task to others, such as a thread or a post: the `doc` of its data or meta, as a pull reads it."""
    places = (task["data"], task.get("meta"))
    return read_key([fields for fields in places if isinstance(fields, dict)], "doc", "a group")
