"""Two-column CoNLL: a token and its tag on a line, a blank line between texts, `-DOCSTART-` between documents.

The text is the tokens joined by one space. IOB1, IOB2 and BIO are read by one rule that gives the same spans for each:
`B-X` begins an entity; `I-X` continues an entity of type X, and begins one where there is none.
IOB1: Ramshaw and Marcus, "Text chunking using transformation-based learning", 1995. IOB2: Tjong Kim Sang and Veenstra,
"Representing text chunks", EACL 1999.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from loop.files.inputs import Input
from loop.files.record_ids import Naming
from loop.files.records import (
    BYTE_ORDER_MARK,
    FileFormat,
    Opened,
    Problem,
    Record,
    Source,
    check_storable,
    labelling,
    numbered_lines,
    region,
)
from ner.errors import InputError
from ner.label_config import LabelConfig
from ner.spans import Span

DOCSTART = "-DOCSTART-"


@dataclass
class _Sentence:
    """The lines of one text as they are gathered; the first error makes a problem of the whole text."""

    first_line: int
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    error: tuple[str, InputError] | None = None


def read_conll(stream: BinaryIO, source: Source) -> Iterator[Record | Problem]:
    """The texts of a stream in order, each in the group of its -DOCSTART-; `where` is the text's first line."""
    stem, config = source.stem, source.config
    naming, documents, sentence = Naming(stem), 0, _Sentence(1)
    for number, line in numbered_lines(stream):
        is_start = isinstance(line, str) and line.startswith(DOCSTART)
        if is_start or (isinstance(line, str) and not line.strip(" \t")):
            yield from _finish(sentence, naming, _group(stem, documents), config)
            sentence, documents = _Sentence(number + 1), documents + is_start
        else:
            _add(sentence, number, line)
    yield from _finish(sentence, naming, _group(stem, documents), config)


def _recognise(file: Input) -> bool:
    """Whether the first line with a word has two columns, and the last of them is a tag."""
    lines = file.head.removeprefix(BYTE_ORDER_MARK).decode(errors="replace").splitlines()
    words = (line.split() for line in lines if line.strip() and not line.startswith(DOCSTART))
    return re.fullmatch("O|[BI]-.+", next(words, [""])[-1]) is not None


FORMAT = FileFormat(
    name="conll",
    title="a token and its tag on a line",
    recognise=_recognise,
    open=lambda file, source: Opened(lambda: read_conll(file.rewound(), source)),
)


def _group(stem: str, documents: int) -> str | None:
    return f"{stem}:doc-{documents}" if documents else None


def _add(sentence: _Sentence, number: int, line: str | InputError) -> None:
    try:
        token, tag = _columns(line)
    except InputError as error:
        sentence.error = sentence.error or (f"line {number}", error)
        return
    sentence.tokens.append(token)
    sentence.tags.append(tag)


def _columns(line: str | InputError) -> tuple[str, str]:
    """Columns are split at tabs where there are any, else at spaces: a token may hold a no-break space."""
    if isinstance(line, InputError):
        raise line
    columns = line.rstrip(" ").split("\t") if "\t" in line else re.split(" +", line.strip(" "))
    columns = [column.strip(" ") for column in columns]
    if len(columns) != 2 or not all(columns):
        raise InputError("a line has two columns, token and tag", value=line, next_step="Keep those two, tab between.")
    token, tag = columns
    if tag != "O" and not re.fullmatch(r"[BI]-.+", tag):
        raise InputError("a tag is O, B-TYPE or I-TYPE", value=tag, next_step="Convert the file to IOB2.")
    check_storable(tag, "tag")
    return token, tag


def _finish(sentence: _Sentence, naming: Naming, group: str | None, config: LabelConfig) -> Iterator[Record | Problem]:
    text = " ".join(sentence.tokens)
    if sentence.error is not None:
        yield Problem(*sentence.error, payload=text)
    elif sentence.tokens:
        spans = _spans(sentence.tokens, sentence.tags)
        where = f"line {sentence.first_line}"
        said = labelling(region(config, span.start, span.end, [span.label]) for span in spans)
        yield Record(where, text, naming.next_id(text), (said,), group, format=FORMAT.name)


def _spans(tokens: list[str], tags: list[str]) -> tuple[Span, ...]:
    spans: list[Span] = []
    position, open_label = 0, None
    for token, tag in zip(tokens, tags, strict=True):
        end = position + len(token)
        label = tag[2:] if tag != "O" else None
        if label is not None and tag.startswith("I-") and label == open_label:
            spans[-1] = replace(spans[-1], end=end)
        elif label is not None:
            spans.append(Span(position, end, label))
        position, open_label = end + 1, label
    return tuple(spans)
