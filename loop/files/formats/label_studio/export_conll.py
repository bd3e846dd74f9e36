"""Label Studio's CONLL2003 export, which is CoNLL of four columns and says less than the project holds.

Of a text with regions of several <Labels>, the server writes the regions of one of them and `O` for the rest. A project
with several <Labels> is therefore refused. Source: `label_studio_sdk.converter`, version 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from loop.files.formats.label_studio.export_json import EXPORT_AS_JSON
from loop.files.formats.tagged import conll
from loop.files.raw.inputs import Input
from loop.files.raw.lines import BYTE_ORDER_MARK, numbered_lines
from loop.files.records import SEVERAL_ANNOTATIONS, FileFormat, Opened, Problem, Record, Source
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned

NOTE = (
    "Label Studio's CONLL2003 export writes O for texts that nobody labelled, for overlapping regions, and for the "
    "regions of all <Labels> but one; it writes one space for any white space. Its JSON export holds what people said."
)
_FIRST = b"-DOCSTART- -X- O"
_SPACED_LABEL = re.compile(r"\S+ -X- _ ([BI]-\S+ (?!.*-X-).*)")
_ROW = re.compile(rf"\S+ -X- _ \S+|{_SPACED_LABEL.pattern}")


def _recognise(file: Input) -> bool:
    head = file.head.removeprefix(BYTE_ORDER_MARK)
    lines = head.decode("utf-8", "replace").splitlines()[1:-1]
    return head.startswith(_FIRST) and all(_ROW.fullmatch(line) for line in lines if line)


def _open(file: Input, source: Source) -> Opened:
    controls = source.config.controls
    if len(controls) > 1 and not source.texts_only:
        raise InputError(
            "Label Studio's CONLL2003 export holds the regions of one <Labels> of each text, and not of several",
            value=f"the project's label config has {', '.join(control.name for control in controls)}",
            next_step=EXPORT_AS_JSON,
        )
    _refuse_spaced_labels(file)
    opened = conll.FORMAT.open(file, source)
    return Opened(partial(_each_text_once, opened.records), (*opened.said, NOTE))


def _refuse_spaced_labels(file: Input) -> None:
    for number, line in numbered_lines(file.rewound()):
        found = None if isinstance(line, InputError) else _SPACED_LABEL.fullmatch(line)
        if found is not None:
            raise InputError(
                "Label Studio's CONLL2003 export cannot hold labels with spaces",
                value=f"line {number}: the tag {found[1]!r}",
                next_step=EXPORT_AS_JSON,
            )


FORMAT = FileFormat("label-studio-conll", "Label Studio's CONLL2003 export", _recognise, _open)


def _each_text_once(records: Callable[[], Iterator[Record | Problem]]) -> Iterator[Record | Problem]:
    """A text stands once for each annotation; where these differ, the text is unlabelled."""
    last: Record | None = None
    for item in records():
        if isinstance(item, Record) and last is not None and item.text == last.text and not _is_like(item, last):
            aside = NotLearned(SEVERAL_ANNOTATIONS, None)
            last = replace(last, annotations=(), aside=last.aside or (aside,))
            continue
        if last is not None:
            yield last
        last = replace(item, format=FORMAT.name) if isinstance(item, Record) else None
        if isinstance(item, Problem):
            yield item
    if last is not None:
        yield last


def _is_like(one: Record, other: Record) -> bool:
    results = [[list(annotation.result) for annotation in record.annotations] for record in (one, other)]
    return results[0] == results[1]
