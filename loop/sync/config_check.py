"""The label config of a project in Label Studio against what the project really holds, before the project is linked.

The server changes no task and no annotation when its label config changes, and does not check what is imported. So the
tasks may lack the field that the <Text> shows, and annotations may be of controls and labels that the config lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loop.label_studio.client import Json, LabelStudioClient
from loop.sync.pages import TaskReader, start_from
from loop.sync.tasks import ReadTask, read_task
from ner.errors import ConfigError
from ner.label_studio.label_config import LabelConfig, OtherControl
from ner.label_studio.task_data import MISSING, UNDEFINED, field_names, find_field
from store.annotations import NewAnnotation
from store.counts import Doubts, counted
from store.database.schema import Project

_TASKS_READ = 100
_FIELDS_NAMED = 20


@dataclass(frozen=True)
class ForeignRegions:
    """How many regions in Label Studio are of a <Labels> control that its label config does not have."""

    from_name: str
    to_name: str
    regions: int


@dataclass(frozen=True)
class ConfigCheck:
    """The label config of a project in Label Studio, which the next pull takes over, and what its first tasks hold.

    labels: those of the config there. labels_added: of these, those that the project here lacks. labels_removed: labels
    of the project here that the config there lacks. left_out: its controls that mark spans and are not learned from.
    tasks_read: how many of the tasks were read. without_text: how many of these have no text. foreign: their regions of
    controls that the config lacks. doubts: what will be in doubt among them.
    """

    labels: tuple[str, ...]
    labels_added: tuple[str, ...]
    labels_removed: tuple[str, ...]
    left_out: tuple[OtherControl, ...]
    tasks_read: int
    without_text: int
    foreign: tuple[ForeignRegions, ...]
    doubts: Doubts


def check_config(client: LabelStudioClient, project: Project, settings: Json) -> ConfigCheck:
    """Compare the label config in `settings`, of a project in Label Studio, with its first tasks and with `project`.

    Raises InputError for a label config that cannot be learned from, ConfigError when no task has the field that its
    <Text> shows, LabelStudioError when the server fails.
    """
    config = LabelConfig.parse(str(settings["label_config"]))
    tasks = _first_tasks(client, int(settings["id"]))
    if tasks and not any(_has_field(task, config.data_field) for task in tasks):
        raise _no_field(int(settings["id"]), tasks, config.data_field)
    read = [read_task(task, config, project.label_map) for task in tasks]
    texts = [[one for one in task.annotations if not one.skipped] for task in read if isinstance(task, ReadTask)]
    return ConfigCheck(
        labels=config.labels,
        labels_added=tuple(label for label in config.labels if label not in project.labels),
        labels_removed=tuple(label for label in project.labels if label not in config.labels),
        left_out=config.left_out,
        tasks_read=len(tasks),
        without_text=len(tasks) - len(texts),
        foreign=_foreign((one for annotations in texts for one in annotations), config),
        doubts=counted([doubt for one in annotations for doubt in one.doubts] for annotations in texts),
    )


def _first_tasks(client: LabelStudioClient, ls_project_id: int) -> tuple[Json, ...]:
    page = TaskReader(client, ls_project_id, _TASKS_READ).read(start_from(None))
    return page.tasks if page is not None else ()


def _data(task: Json) -> dict[str, Any]:
    data = task.get("data")
    return data if isinstance(data, dict) else {}


def _has_field(task: Json, field: str) -> bool:
    return find_field(_data(task), field) is not MISSING or UNDEFINED in _data(task)


def _no_field(ls_project_id: int, tasks: tuple[Json, ...], field: str) -> ConfigError:
    names = list(dict.fromkeys(name for task in tasks for name in field_names(_data(task))))
    return ConfigError(
        f"the tasks of a linked project have the field that the <Text> of its label config shows, {field!r}",
        value=f"fields {', '.join(names[:_FIELDS_NAMED]) or '(none)'} in the tasks of project {ls_project_id}",
        next_step=f"In Label Studio, under Settings, Labeling Interface, name one of these fields in place of "
        f'value="${field}"; or link another project with --ls-project.',
    )


def _foreign(annotations: Iterable[NewAnnotation], config: LabelConfig) -> tuple[ForeignRegions, ...]:
    names = [
        (str(one["from_name"]), str(one.get("to_name"))) for item in annotations for one in item.result if _marks(one)
    ]
    counts = Counter(name for name in names if not config.accepts(*name) and not config.knows(*name))
    return tuple(ForeignRegions(*name, times) for name, times in counts.most_common())


def _marks(region: Mapping[str, Any]) -> bool:
    return region.get("type") == "labels" and isinstance(region.get("from_name"), str)
