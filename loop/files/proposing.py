"""A label config proposed from a file of any format: the labels in it, and the names that Label Studio gave.

A file of Label Studio has the names of the controls, of the object and of the data field. Any other file has labels
alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from loop.files.formats.known import JSON, find_format
from loop.files.formats.label_studio import export_csv, export_json, json_min
from loop.files.raw.inputs import Input, open_inputs
from loop.files.raw.json_values import json_values
from loop.files.records import Problem, Source
from ner.errors import InputError
from ner.label_studio.label_config import Control, LabelConfig
from ner.label_studio.task_data import field_names, find_field

_TASKS = 1000  # that are looked at for the data field
_MANY = 10  # regions of a label, beside which a label with one region is rare
_OWN = LabelConfig((Control("label", ()),), "text", "text")
_NO_CONFIG = LabelConfig((), "", "")
Pair = tuple[str, str]


@dataclass(frozen=True)
class ProposedControl:
    """A control that labels spans in a file, with the regions of each label; `taken`: it stands in the proposal."""

    name: str
    to_name: str
    labels: Mapping[str, int]
    taken: bool = True


@dataclass(frozen=True)
class Proposal:
    """What a file says of a label config. The counts are of texts; `bad`: records that could not be read.

    format: the formats of the records. check: what people should look at before they import, a sentence each.
    """

    file: str
    format: str
    controls: tuple[ProposedControl, ...]
    data_field: str
    texts: int
    labelled: int
    bad: int
    check: tuple[str, ...] = ()

    @property
    def config(self) -> LabelConfig:
        """The proposed label config."""
        taken = [control for control in self.controls if control.taken]
        return LabelConfig(
            tuple(Control(one.name, tuple(one.labels)) for one in taken), taken[0].to_name, self.data_field
        )


def propose(path: Path) -> Proposal:
    """The label config that fits a file. Raises InputError for a file of no known format or without a label."""
    seen = _Seen()
    with open_inputs(path) as inputs:
        data_field = _data_field([task for one in inputs for task in _tasks(one)])
        config = LabelConfig(_OWN.controls, _OWN.to_name, data_field)
        for one in inputs:
            seen.read(one, config)
    if not seen.labels:
        first = f"The first record that cannot be read is {seen.first_problem} " if seen.bad else ""
        raise InputError(
            "a label config is proposed from a file with labelled spans",
            value=f"{path.name}, {seen.texts:,} texts and {seen.bad:,} records that cannot be read",
            next_step=f"{first}Name the labels: loop init DIR --labels A,B.",
        )
    return seen.proposal(path.name, data_field)


@dataclass
class _Seen:
    """What the records of a file say."""

    texts: int = 0
    labelled: int = 0
    bad: int = 0
    formats: set[str] = field(default_factory=set)
    labels: dict[Pair, Counter[str]] = field(default_factory=dict)
    first_problem: str = ""

    def read(self, file: Input, config: LabelConfig) -> None:
        """Count the records of one file."""
        for record in find_format(file).open(file, Source(file.stem, config)).records():
            if isinstance(record, Problem):
                self.bad += 1
                self.first_problem = self.first_problem or f"{record.where}: {record.error}"
                continue
            self.texts += 1
            self.labelled += bool(record.annotations)
            self.formats.add(record.format)
            for annotation in record.annotations:
                for region in annotation.result:
                    self._count(region)

    def _count(self, region: Any) -> None:
        value = region.get("value") if isinstance(region, dict) else None
        names = value.get("labels") if isinstance(value, dict) else None
        pair = (region.get("from_name"), region.get("to_name")) if isinstance(region, dict) else ()
        if isinstance(names, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair):
            found = [name for name in names if isinstance(name, str) and name]
            self.labels.setdefault(pair, Counter()).update(found)  # type: ignore[arg-type]

    def proposal(self, name: str, data_field: str) -> Proposal:
        """The proposal: all controls over the object that has the most regions."""
        objects = Counter[str]()
        for (_, to_name), labels in self.labels.items():
            objects[to_name] += labels.total()
        chosen = objects.most_common(1)[0][0]
        controls = tuple(
            ProposedControl(control, to_name, dict(labels.most_common()), to_name == chosen)
            for (control, to_name), labels in self.labels.items()
        )
        check = list(_to_check(controls, chosen, self.bad, self.first_problem))
        if self.formats.intersection(json_min.ROWS):
            check.append(f"JSON-MIN and CSV do not name the object of a control; {chosen!r} is a guess.")
        formats = " and ".join(sorted(self.formats))
        return Proposal(name, formats, controls, data_field, self.texts, self.labelled, self.bad, tuple(check))


def _to_check(controls: Iterable[ProposedControl], chosen: str, bad: int, first: str) -> Iterator[str]:
    left = [one for one in controls if not one.taken]
    if left:
        names = ", ".join(f"{one.name!r} over {one.to_name!r}" for one in left)
        yield f"The regions of {names} are left out: only labels over one object, {chosen!r}, can be learned."
    counts = Counter[str]()
    for one in controls:
        counts.update(one.labels if one.taken else {})
    folded: dict[str, list[str]] = {}
    for label in counts:
        folded.setdefault(label.strip().casefold(), []).append(label)
    for alike in folded.values():
        if len(alike) > 1:
            yield f"These labels differ by case or white space: {', '.join(map(repr, alike))}. Keep one; map the rest."
    once = [label for label, number in counts.items() if number == 1]
    if once and max(counts.values()) >= _MANY:
        yield f"These labels stand on one region each, and may be slips: {', '.join(map(repr, once))}."
    if bad:
        yield f"{bad:,} records cannot be read. The first is {first}"


def _tasks(file: Input) -> Iterator[Mapping[str, Any]]:
    """The first tasks of a file of Label Studio; none of any other file."""
    if file.stream is None:
        return
    name = find_format(file).name
    if name == JSON.name:
        values = (value for _, value, _ in islice(json_values(file.rewound()), _TASKS))
        for value in values:
            if export_json.SHAPE.claims(value):
                yield value
            elif json_min.SHAPE.claims(value):
                yield json_min.task_of(value, _NO_CONFIG)
    elif name == export_csv.FORMAT.name:
        for _, cells in islice(export_csv.read_rows(file.rewound()), _TASKS):
            if not isinstance(cells, InputError):
                yield json_min.task_of(export_csv.words_of(cells, _NO_CONFIG), _NO_CONFIG)


def _data_field(tasks: Iterable[Mapping[str, Any]]) -> str:
    """The field of the tasks' data that holds the words of the regions; else `text`, else the field with most text."""
    scores: dict[str, list[int]] = {}
    for task in tasks:
        data = task.get("data")
        words = list(_words(task))
        for name in field_names(data) if isinstance(data, dict) else ():
            value = find_field(data, name)  # type: ignore[arg-type]
            if isinstance(value, str):
                score = scores.setdefault(name, [0, int(name == "text"), 0])
                score[0] += sum(word in value for word in words)
                score[2] += len(value)
    return max(scores, key=lambda name: scores[name], default="text")


def _words(task: Mapping[str, Any]) -> Iterator[str]:
    """The words that the regions of a task repeat."""
    for key in ("annotations", "completions", "predictions"):
        for said in task.get(key) if isinstance(task.get(key), list) else ():  # type: ignore[union-attr]
            result = said.get("result") if isinstance(said, dict) else None
            for region in result if isinstance(result, list) else ():
                value = region.get("value") if isinstance(region, dict) else None
                text = value.get("text") if isinstance(value, dict) else None
                if isinstance(text, str) and text.strip():
                    yield text
