"""An annotator played through Label Studio's own API: takes the next task and submits its gold with chosen mistakes.

What is drawn (which mistake, where, how long it took) depends only on the seed, the user and the text. So a run can be
repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from loop.label_studio.client import LabelStudioClient
from ner.documents import LabelledText, content_hash
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import task_text, to_result
from ner.spans import Span, overlap

MISTAKES = ("drop", "shift", "swap")
_SECONDS_A_TASK = 4.0
_SECONDS_A_SPAN = 1.5
_LONGEST_SHIFT = 4


@dataclass(frozen=True)
class Habits:
    """How the annotator works: share of spans got wrong (0..1), seconds of pause after each task, the seed."""

    error_rate: float = 0.0
    pace: float = 0.0
    seed: int = 13

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate <= 1:
            raise InputError("an error rate lies in 0..1", value=self.error_rate)
        if self.pace < 0:
            raise InputError("a pace is 0 seconds or more", value=self.pace)


@dataclass(frozen=True)
class Simulated:
    """What was submitted: annotations, skips of texts that the gold does not hold, spans, and mistakes by kind."""

    submitted: int = 0
    skipped: int = 0
    spans: int = 0
    mistakes: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(MISTAKES, 0))
    queue_empty: bool = False


class GoldBook:
    """The true spans of texts, looked up by the exact text, else by the id that a task's data or meta carries."""

    def __init__(self, documents: Iterable[LabelledText]) -> None:
        self._by_text: dict[str, tuple[Span, ...]] = {}
        self._by_id: dict[str, LabelledText] = {}
        for document in documents:
            self._by_text[content_hash(document.text)] = document.spans
            self._by_id[document.id] = document

    def spans(self, task: Mapping[str, Any], text: str) -> tuple[Span, ...] | None:
        """The gold of a task; None when the book does not know it. An id counts only if its text is no longer."""
        known = self._by_text.get(content_hash(text))
        if known is not None:
            return known
        document = next((self._by_id[key] for key in _ids(task) if key in self._by_id), None)
        if document is None or any(span.end > len(text) for span in document.spans):
            return None
        return document.spans


def simulate(
    clients: Sequence[LabelStudioClient],
    project_id: int,
    gold: GoldBook,
    *,
    count: int,
    habits: Habits | None = None,
    sleep: Callable[[float], None] = time.sleep,
    submitted: Callable[[dict[str, Any]], None] | None = None,
) -> Simulated:
    """Submit up to `count` annotations, the users of `clients` taking turns; ends early when the queues are empty.

    A text without gold is skipped as a person would skip it. `submitted` is called with each stored annotation.
    Raises LabelStudioError when the server refuses.
    """
    habits = habits or Habits()
    config = LabelConfig.parse(clients[0].project(project_id)["label_config"])
    done = Simulated()
    waiting = list(enumerate(clients))
    while waiting and done.submitted + done.skipped < count:
        user, client = waiting.pop(0)
        task = client.next_task(project_id)
        if task is None:
            continue
        annotation, made = _answer(task, config, gold, habits, user)
        stored = client.submit_annotation(int(task["id"]), annotation)
        done = _counted(done, annotation, made)
        if submitted is not None:
            submitted(stored)
        waiting.append((user, client))
        if habits.pace:
            sleep(habits.pace)
    return replace(done, queue_empty=not waiting)


def _counted(done: Simulated, annotation: Mapping[str, Any], made: Sequence[str]) -> Simulated:
    if annotation["was_cancelled"]:
        return replace(done, skipped=done.skipped + 1)
    return replace(
        done,
        submitted=done.submitted + 1,
        spans=done.spans + len(annotation["result"]),
        mistakes={kind: number + made.count(kind) for kind, number in done.mistakes.items()},
    )


def _answer(
    task: Mapping[str, Any], config: LabelConfig, gold: GoldBook, habits: Habits, user: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(the annotation to submit for `task`, with the prediction that was shown as its parent; the mistakes in it)."""
    text = task_text(dict(task), config)
    shown = next(iter(task.get("predictions") or ()), None)
    answer: dict[str, Any] = {
        "result": [],
        "lead_time": _SECONDS_A_TASK,
        "parent_prediction": shown["id"] if shown else None,
    }
    spans = gold.spans(task, text)
    if spans is None:
        return {**answer, "was_cancelled": True}, ()
    draw = Random(f"{habits.seed}:{user}:{content_hash(text)}")
    spans, made = blunder(spans, len(text), config.labels, habits.error_rate, draw)
    seconds = (_SECONDS_A_TASK + _SECONDS_A_SPAN * len(spans)) * draw.uniform(0.5, 1.5)
    answer |= {"result": _regions(spans, text, config, shown), "lead_time": round(seconds, 3)}
    return {**answer, "was_cancelled": False}, made


def blunder(
    spans: Sequence[Span], text_length: int, labels: Sequence[str], rate: float, draw: Random
) -> tuple[tuple[Span, ...], tuple[str, ...]]:
    """(spans with mistakes, the kinds made): each span is got wrong with probability `rate`.

    Kinds: dropped; one border moved by 1..4 characters; its type swapped for another. A mistake that would leave the
    text, empty the span, overlap a neighbour, or that needs a second type where there is one, becomes a drop.
    """
    kept: list[Span] = []
    made: list[str] = []
    for place, span in enumerate(spans):
        if draw.random() >= rate:
            kept.append(span)
            continue
        others = [*kept, *spans[place + 1 :]]
        kind, wrong = _mistake(span, others, text_length, labels, draw)
        made.append(kind)
        if wrong is not None:
            kept.append(wrong)
    return tuple(kept), tuple(made)


def _mistake(
    span: Span, others: Sequence[Span], text_length: int, labels: Sequence[str], draw: Random
) -> tuple[str, Span | None]:
    kind = draw.choice(MISTAKES)
    if kind == "swap" and len(labels) > 1:
        return kind, Span(span.start, span.end, draw.choice([label for label in labels if label != span.label]))
    if kind == "shift":
        step = draw.choice((-1, 1)) * draw.randint(1, _LONGEST_SHIFT)
        start, end = (span.start + step, span.end) if draw.random() < 0.5 else (span.start, span.end + step)
        moved = Span(start, end, span.label)
        if 0 <= start < end <= text_length and not any(overlap(moved, other) for other in others):
            return kind, moved
    return "drop", None


def _regions(
    spans: Sequence[Span], text: str, config: LabelConfig, shown: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Regions as the labelling page stores them: those of the prediction say so in `origin`."""
    predicted = {_place(region) for region in (shown or {}).get("result") or ()}
    regions = to_result(spans, text, config)
    for region in regions:
        region.pop("score", None)
        region["origin"] = "prediction" if _place(region) in predicted else "manual"
    return regions


def _place(region: Mapping[str, Any]) -> tuple[Any, ...]:
    value = region.get("value") or {}
    return value.get("start"), value.get("end"), tuple(value.get("labels") or ())


def _ids(task: Mapping[str, Any]) -> list[str]:
    places = [task.get("data") or {}, task.get("meta") or {}]
    return [str(place[key]) for place in places for key in ("external_id", "id") if place.get(key) is not None]
