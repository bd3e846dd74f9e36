"""CoNLL: a token and its tag on a line, a blank line between texts, `-DOCSTART-` between documents.

A row has two or more columns, parted by tabs or by spaces; `conll_columns` finds the token and the tag, and `tags` the
scheme of the tags. The text is the tokens joined by one space, or by none between characters of scripts without spaces.
Lines that begin with `#` before the tokens of a text are comments. Those that `loop.files.writing.conll` writes
give the exact text, its id, its group, its meta and its exact spans; they are compared with the tokens and the tags.
`# text = ` of CoNLL-U, without quotation marks, gives the exact text where the tokens fit.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from loop.files.formats.tagged.conll_columns import ColumnLayout, ColumnSurvey, columns_of
from loop.files.raw.inputs import HEAD_BYTES, Input
from loop.files.raw.lines import BYTE_ORDER_MARK, numbered_lines
from loop.files.raw.unknown import refuse_cr_alone
from loop.files.record_ids import Naming
from loop.files.records import (
    FileFormat,
    Opened,
    Problem,
    Record,
    Source,
    check_name,
    check_storable,
    labelling,
    region,
)
from loop.files.words import JOINED_SAID, Entity, Token, joined_tokens, place_tokens, tokens_of
from loop.files.writing.conll import DOCSTART, read_comment
from loop.files.writing.texts import align
from ner.errors import InputError
from ner.spans import Span, check_span

_TEXT = re.compile("# text = ")
_OURS = re.compile(r"# ?\w+ ?= ?[\[{\"]")
_EXACT = "the tokens and tags of a text say what its comments say"
_LONG = 200
_WHOLE = "Export the texts again, or put texts without comments into a file of their own."
_STEP = "Correct the rows or the comment, or remove the comment: the tokens are then joined by one space."


@dataclass
class _Block:
    """The lines between two borders of texts. documents: how many -DOCSTART- stand before. closed: a border follows."""

    documents: int
    lines: list[tuple[int, str | InputError]] = field(default_factory=list)
    closed: bool = False


@dataclass
class _Text:
    """The rows and comments of one text. unread: comments that are not of this project. plain: the text of CoNLL-U."""

    first_row: int = 0
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    comments: dict[str, Any] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    plain: str | None = None


def _recognise(file: Input) -> bool:
    """Whether most lines of the beginning are rows of one width with a tag in one column, or of a kin of CoNLL."""
    head = file.head if len(file.head) < HEAD_BYTES else file.head[: file.head.rfind(b"\n") + 1]
    survey = ColumnSurvey()
    for block in _blocks(io.BytesIO(head)):
        survey.add(block.lines)
    return b"\0" not in head and not _is_json(head) and survey.is_conll()


def _is_json(head: bytes) -> bool:
    """Whether the first line is a whole object or array of JSON."""
    line = head.removeprefix(BYTE_ORDER_MARK).lstrip().partition(b"\n")[0]
    if not line.startswith((b"{", b"[")):
        return False
    try:
        return isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _open(file: Input, source: Source) -> Opened:
    refuse_cr_alone(file)
    survey, documents, closed, blocks = ColumnSurvey(), 0, True, 0
    for block in _blocks(file.rewound()):
        blocks += 1
        survey.add(block.lines)
        documents, closed = block.documents, block.closed
    layout = survey.layout(source.hints, source.config.labels, texts_only=source.texts_only)
    said = list(layout.said)
    if documents == 1 and layout.grouped and not layout.own:
        said.append("One -DOCSTART- stands in the file: its texts are one document and stay in one split.")
    if blocks == 1 and survey.rows > _LONG:
        said.append(f"No empty line parts the {survey.rows:,} rows: they are read as one text. Part its sentences.")
    if survey.unspaced and layout.by_script and not layout.own:
        said.append(JOINED_SAID)
    if not file.ends_with_line():
        said.append("The file does not end with a line end: its last text may be cut off.")
    elif not closed:
        said.append("No empty line stands behind the last text, which may lack its end.")
    return Opened(lambda: _records(file.rewound(), source, layout), tuple(said))


FORMAT = FileFormat("conll", "a token and its tag on a line, in two or more columns", _recognise, _open)


def _blocks(stream: BinaryIO) -> Iterator[_Block]:
    """The lines of each text in order, without the borders."""
    block = _Block(0)
    for number, line in numbered_lines(stream):
        is_start = isinstance(line, str) and line.startswith(DOCSTART)
        if is_start or (isinstance(line, str) and not line.strip()):
            if block.lines:
                block.closed = True
                yield block
            block = _Block(block.documents + is_start)
        else:
            block.lines.append((number, line))
    if block.lines:
        yield block


def _records(stream: BinaryIO, source: Source, layout: ColumnLayout) -> Iterator[Record | Problem]:
    """The texts in order; `where` is the first row of a text. A line with a fault makes a Problem of its text."""
    naming = Naming(source.stem)
    for block in _blocks(stream):
        number, text = block.lines[0][0], _Text()
        try:
            for number, line in block.lines:
                if number != layout.heading:
                    _add(text, number, line, layout)
            number = text.first_row or number
            if text.tokens or text.comments:
                yield _record(text, _group(source, block, text, layout), naming, source, layout)
        except InputError as error:
            shown = "\n".join(line for _, line in block.lines if isinstance(line, str))
            yield Problem(f"line {number}", error, shown)


def _add(text: _Text, number: int, line: str | InputError, layout: ColumnLayout) -> None:
    if isinstance(line, InputError):
        raise line
    row = columns_of(line)
    if layout.is_row(line, row):
        token, tag = layout.token_and_tag(line, row)
        text.first_row = text.first_row or number
        text.tokens.append(token)
        text.tags.append(tag)
        return
    if text.tokens:
        raise InputError(
            "comments stand before the tokens of a text", value=line, next_step="Part texts by a blank line."
        )
    comment, match = read_comment(line), _TEXT.match(line)
    if match is not None:
        text.plain = line[match.end() :]
    if comment is None:
        text.unread.append(line)
        return
    if comment[0] in text.comments:
        raise InputError("a comment stands once before a text", value=line, next_step="Remove one of the two.")
    text.comments.update([comment])


def _record(text: _Text, group: str | None, naming: Naming, source: Source, layout: ColumnLayout) -> Record:
    if not text.tokens:
        raise InputError("tokens stand behind the comments of a text", value="none", next_step="Remove the blank line.")
    if layout.own and "id" not in text.comments:
        raise InputError("`# id = ...` stands before each text of this export", value=text.tokens[0], next_step=_WHOLE)
    words, places = _placed(text, layout)
    said = () if source.texts_only else (labelling(_regions(text, words, places, source, layout)),)
    meta = text.comments.get("meta", {})
    check_storable(meta, "meta")
    name = check_name(text.comments["id"], "id") if "id" in text.comments else naming.next_id(words)
    return Record(f"line {text.first_row}", words, name, said, group, meta, format=FORMAT.name)


def _placed(text: _Text, layout: ColumnLayout) -> tuple[str, list[Token]]:
    """The exact text, and where its tokens stand. Raises InputError where the comments do not say what the rows say."""
    broken = next((line for line in text.unread if _OURS.match(line)), None)
    if broken is not None and (text.comments or _TEXT.match(broken)):
        raise InputError("a comment with a JSON value is id, doc, text, meta or spans", value=broken, next_step=_STEP)
    said = text.comments.get("text")
    fault: InputError | None = None
    for words in (said, text.plain):
        if words is not None:
            try:
                places = place_tokens(words, text.tokens)
                if words == said:
                    _check_own_tokens(words, places)
                return words, places
            except InputError as error:
                fault = fault or error
    if fault is not None and said is not None:
        raise fault
    return joined_tokens(text.tokens, by_script=layout.by_script)


def _check_own_tokens(words: str, places: Sequence[Token]) -> None:
    """Raise InputError where the rows are not the tokens that our export makes of the text: rows were cut or joined."""
    own = set(tokens_of(words))
    other = next((place for place in places if place not in own), None)
    if other is not None:
        raise InputError(_EXACT, value=f"the token {words[slice(*other)]!r}", next_step=_STEP)


def _group(source: Source, block: _Block, text: _Text, layout: ColumnLayout) -> str | None:
    """The group that a comment names; else the document, unless comments give the text's id and no group."""
    if "doc" in text.comments:
        return check_name(text.comments["doc"], "doc")
    grouped = layout.grouped and block.documents and "id" not in text.comments
    return f"{source.stem}:doc-{block.documents}" if grouped else None


def _regions(
    text: _Text, words: str, places: Sequence[Token], source: Source, layout: ColumnLayout
) -> Iterator[Mapping[str, Any]]:
    entities = layout.scheme.entities(text.tags)
    spans = [(places[first][0], places[behind - 1][1], label) for first, behind, label in entities]
    if "spans" in text.comments:
        exact = [_exact_span(item, words) for item in text.comments["spans"]]
        commented = list(align(exact, places).entities)
        if commented != entities:
            value = f"{_shown(commented)} by the comment, and {_shown(entities)} by the tags"
            raise InputError(_EXACT, value=value, next_step=_STEP)
        spans = [(span.start, span.end, span.label) for span in exact]
    for start, end, label in spans:
        check_storable(label, "tag")
        yield region(source.config, start, end, [label])


def _shown(entities: Sequence[Entity]) -> str:
    return ", ".join(f"{one.label} on tokens {one.first + 1} to {one.behind}" for one in entities) or "no entity"


def _exact_span(item: Any, words: str) -> Span:
    match item:
        case [int(start), int(end), str(label)] if type(start) is int and type(end) is int:
            span = Span(start, end, label)
            check_span(span, len(words))
            return span
    raise InputError("a comment `spans` is a list of [start, end, label]", value=item, next_step=_STEP)
