"""What a file of any format is read into, and what a format is.

A reader gives a record for each text, and a problem in the place of each record that breaks a rule. What people said
about a text stands in the record as Label Studio's regions, raw: one function decides for every format what of them is
understood (`ner.label_studio.results.read_result`). `loop.files.reading` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loop.files.raw.inputs import Input
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig, NotLearned
from store.annotations import FILE, NewAnnotation
from weak_labeling.source import Vote

GOLD = "gold"
SEVERAL_ANNOTATIONS = "annotations that differ, and the file does not say which is ground truth"
# A key of this name says something about entities: it is read, or refused by name, and never kept as metadata.
ANNOTATION_KEYS = (
    *("spans", "label", "labels", "entities", "ents", "annotation", "annotations", "completions", "predictions"),
    *("ner_tags", "tags", "answer"),
)
UNREAD = "unread"
"""The key under which a region names the numbers of its item that are not read; they may be damaged offsets."""
_SHOWN_PAYLOAD = 500


@dataclass(frozen=True)
class Record:
    """One text, and what was said about it.

    where: the place in the file, for people: "line 12". external_id: None when the file names none; if that id already
    names another text, `fallback_id` is taken, where there is one. annotations: as they stand in the file, with
    `spans` None, until `loop.files.reading` has read them; a text without one is unlabelled. aside: what else the file
    says about the text and cannot be learned from. format: the name of the format or shape that read the record.
    votes: None where the file says nothing of votes. bad_votes: what is wrong with each vote that breaks a rule.
    """

    where: str
    text: str
    external_id: str | None = None
    annotations: tuple[NewAnnotation, ...] = ()
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    votes: tuple[Vote, ...] | None = None
    bad_votes: tuple[InputError, ...] = ()
    aside: tuple[NotLearned, ...] = ()
    fallback_id: str | None = None
    format: str = ""


@dataclass(frozen=True)
class Problem:
    """A record that breaks a rule. payload: the start of the record, as it stands in the file."""

    where: str
    error: InputError
    payload: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload", self.payload[:_SHOWN_PAYLOAD])


@dataclass(frozen=True)
class FileHints:
    """What a person says of a file, where its content does not say it.

    columns: the columns of the token and of the tag (CoNLL, counted from 1, or from -1 for the last), or the names of
    the columns of a table. tag_scheme: iob1, iob2, bioes, bilou or bare. labels: the names behind numbers in
    `ner_tags`, by number.
    """

    columns: tuple[str, ...] = ()
    tag_scheme: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where records come from: the file's `stem` begins the ids of records without one.

    config: the project's; a reader writes regions with its controls and finds the text of a task by its field.
    texts_only: only ids and texts are wanted, so that nothing is refused for what it says about entities.
    """

    stem: str
    config: LabelConfig
    hints: FileHints = FileHints()
    texts_only: bool = False


@dataclass(frozen=True)
class Opened:
    """A file of a known format: `records` reads it from its start, each time anew.

    said: what people should know of how the file is read, such as the scheme of its tags; a sentence each. unlabelled:
    a file of this format cannot say anything of entities.
    """

    records: Callable[[], Iterator[Record | Problem]]
    said: tuple[str, ...] = ()
    unlabelled: bool = False


@dataclass(frozen=True)
class FileFormat:
    """A format that files are read from.

    title: the format in a few words, for people. recognise: whether an input is of this format, by its content. open:
    looks through the whole input as far as needed and says how it is read. Raises InputError for an input that cannot
    be of this format.
    """

    name: str
    title: str
    recognise: Callable[[Input], bool]
    open: Callable[[Input, Source], Opened]


def region(
    config: LabelConfig, start: Any, end: Any, labels: Sequence[Any], words: str | None = None
) -> dict[str, Any]:
    """A region as Label Studio writes it, of whatever the file gives; `words`: where the file repeats them."""
    value: dict[str, Any] = {"start": start, "end": end, "labels": list(labels)}
    if words is not None:
        value["text"] = words
    return {"from_name": config.controls[0].name, "to_name": config.to_name, "type": "labels", "value": value}


def labelling(regions: Iterable[Mapping[str, Any]]) -> NewAnnotation:
    """What a format with one labelling for each text says of a text: ground truth, not read yet."""
    numbered = [
        {"id": f"s{item['value']['start']}-{item['value']['end']}-{number}", **item}
        for number, item in enumerate(regions)
    ]
    return NewAnnotation(FILE, GOLD, numbered, None, ground_truth=True)


def check_name(value: Any, key: str) -> str:
    """An id, label or group as a string that any store can hold; whole numbers, also 3.0, are spelled out."""
    value = as_whole(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"`{key}` is a string that is not empty", value=value, next_step=f"Correct `{key}`.")
    check_storable(value, key)
    return value


def as_whole(value: Any) -> Any:
    """The value, with 3.0 as 3: pandas makes floats of the whole numbers in a column with a gap."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_moment(value: Any) -> datetime | None:
    """An ISO 8601 time, or seconds since 1970, as an aware UTC datetime, else None; a time without a zone is UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):  # no time, or a time in a year that no calendar has
        return None


def check_storable(value: Any, key: str) -> None:
    """Raise InputError for a JSON value that holds U+0000 or a lone surrogate: no database holds these as text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace("\\u0000", "\0")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"`{key}` holds no U+0000 and no lone surrogate", value=repr(text), next_step="Remove the character."
        )
