"""Files in memory, read by the format that their content shows, for tests of readers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from loop.files.formats.known import AUTO, find_format, format_named
from loop.files.raw.inputs import HEAD_BYTES, Input
from loop.files.reading import LabelRule, Reading, Request, check_record, survey
from loop.files.records import FileHints, Problem, Record, Source
from loop.settings.template import config_of_labels
from ner.label_studio.label_config import LabelConfig
from ner.spans import Span

CONFIG = LabelConfig.parse(config_of_labels("X,Y,PER,LOC,ORG"))


def as_input(content: Any, name: str = "file") -> Input:
    """Bytes, text, or a value as JSON, as an open file."""
    if not isinstance(content, bytes | str):
        content = json.dumps(content)
    raw = content if isinstance(content, bytes) else content.encode()
    return Input(name, Path(name), Path(name).stem, raw[:HEAD_BYTES], io.BytesIO(raw))


def raw(content: Any, file_format: str = AUTO, hints: FileHints | None = None, **source: Any) -> list[Record | Problem]:
    """What a reader gives, before anything is understood."""
    file = as_input(content)
    chosen = find_format(file, hints) if file_format == AUTO else format_named(file_format)
    return list(chosen.open(file, Source(file.stem, CONFIG, hints or FileHints(), **source)).records())


def reading(content: Any, name: str = "file", **request: Any) -> Reading:
    """A file as the commands read it."""
    wanted = Request(CONFIG, **request)
    return survey(as_input(content, name), wanted, LabelRule(CONFIG, wanted.label_map))


def record(item: Record | Problem) -> Record:
    """The item, which is a record."""
    assert isinstance(item, Record), item
    return item


def problem(item: Record | Problem) -> Problem:
    """The item, which is a problem."""
    assert isinstance(item, Problem), item
    return item


def spans(item: Record | Problem) -> tuple[Span, ...] | None:
    """The spans of the one annotation of a raw record, as the project understands them; None where it has none."""
    read = check_record(record(item), LabelRule(CONFIG))
    if not read.annotations:
        return None
    (annotation,) = read.annotations
    assert not annotation.set_aside, annotation.set_aside
    return annotation.spans
