"""Put labelled tasks back into Label Studio's queue without taking anything from them.

No annotation is changed, skipped or deleted. A task asks for one annotator more than it has (`overlap`), and counts as
unlabelled again (`is_labeled`, which Label Studio does not derive anew when `overlap` alone is set). Tried on release
1.23.2:

- Label Studio offers such a task to every other annotator, at its place in the order of the queue. Their annotation
  closes the task.
- The queue itself never offers the task again to a person who has annotated it, whatever is set. Only a postponed draft
  of that person does so, at the end, once the rest of their queue is done; and Label Studio lets a key make drafts for
  its own user only. So the user whose key this is gets their own tasks back. Any other sole annotator finds the tasks
  in the data manager, as tasks that are not completed.
- Label Studio counts annotators, not annotations. A task that the same person annotated again stays open therefore, and
  the next requeueing closes it.
- Two other ways were rejected. An annotation that is turned into a skip also opens its task, but not for its own
  annotator (unless the project requeues skips to them, and then for nobody else), and its gold is lost until somebody
  annotates the task. An annotation that is turned into a draft is deleted, and the draft goes to the user of the key
  instead of its annotator.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loop.label_studio.client import Json, LabelStudioClient, LabelStudioError, parse_time

_GONE = 404


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of the tasks.

    opened: put back now. waiting: open already. closed: annotated again since, and so taken out of the queue. settled:
    annotated again since, and closed already. gone: deleted in Label Studio.
    """

    opened: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    closed: tuple[int, ...] = ()
    settled: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()

    @property
    def queued(self) -> tuple[int, ...]:
        """The tasks that stand in the queue now."""
        return tuple(sorted((*self.opened, *self.waiting)))


def requeue(
    client: LabelStudioClient, ls_project_id: int, doubted: Mapping[int, Collection[int]], since: datetime
) -> Requeued:
    """Open those tasks (by id) whose believed annotation is among the doubted annotations (by id).

    The server is asked what the tasks have now. An annotation that was made before `since` and updated after it was
    looked at again, and is doubted no more. Safe to repeat. Raises LabelStudioError.
    """
    settings = client.project(ls_project_id)
    states = {int(task["id"]): task for task in client.task_states(ls_project_id, sorted(doubted))}
    done: dict[str, list[int]] = {"gone": sorted(doubted.keys() - states.keys())}
    for task_id, task in sorted(states.items()):
        outcome, change = _decide(task, doubted[task_id], since, settings)
        if change and not _update(client, task_id, change):
            outcome = "gone"
        done.setdefault(outcome, []).append(task_id)
    return Requeued(**{name: tuple(ids) for name, ids in done.items()})


def offer_again(client: LabelStudioClient, results: Mapping[int, Sequence[Mapping[str, Any]]]) -> int:
    """Offer tasks (by id) again to the user whose key this is, by a postponed draft with these regions.

    A task on which this user has a draft already is left alone. Gives how many drafts were made; raises
    LabelStudioError.
    """
    email = client.whoami().get("email") if results else None
    without = [task for task in sorted(results) if not any(one.get("user") == email for one in client.drafts(task))]
    for task_id in without:
        client.postpone(task_id, results[task_id])
    return len(without)


def _decide(
    task: Json, doubted: Collection[int], since: datetime, settings: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """(what becomes of one task, the fields of the task to set)."""
    annotations = [one for one in task.get("annotations") or [] if isinstance(one, dict)]
    live = [one for one in annotations if not one.get("was_cancelled")]
    believed = max(live, key=lambda one: (one.get("ground_truth") is True, _moment(one, "updated_at")), default=None)
    is_labeled, overlap = task.get("is_labeled") is True, int(task.get("overlap") or 1)
    if believed is None or believed["id"] not in doubted or _looked_at_again(believed, since):
        change = {} if is_labeled else _closing(live, overlap, int(settings.get("maximum_annotations") or 1))
        return ("closed", change) if change else ("settled", {})
    if not is_labeled:
        return "waiting", {}
    taken = live if settings.get("skip_queue") == "REQUEUE_FOR_OTHERS" else annotations
    return "opened", {"overlap": max(overlap, len(taken) + 1), "is_labeled": False}


def _closing(live: Sequence[Json], overlap: int, maximum: int) -> dict[str, Any]:
    """The fields that give a task back the overlap of its project, where a requeueing had raised the overlap."""
    if overlap <= maximum:
        return {}
    annotators = len({_annotator(one) for one in live})
    return {"overlap": max(maximum, annotators), "is_labeled": annotators >= maximum}


def _looked_at_again(annotation: Json, since: datetime) -> bool:
    return _moment(annotation, "created_at") <= since < _moment(annotation, "updated_at")


def _moment(annotation: Json, field: str) -> datetime:
    return parse_time(str(annotation[field]))


def _annotator(annotation: Json) -> object:
    """`completed_by` is a number in lists and an object in single tasks."""
    who = annotation.get("completed_by")
    return who.get("id") if isinstance(who, dict) else who


def _update(client: LabelStudioClient, task_id: int, change: Mapping[str, Any]) -> bool:
    """False when the task is gone."""
    try:
        client.update_task(task_id, **change)
    except LabelStudioError as error:
        if error.status != _GONE:
            raise
        return False
    return True
