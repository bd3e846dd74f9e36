"""CSV and TSV with a first row that names the columns: a text in a row, or a token in a row.

The column `text` holds the texts, or the one that `--columns` names. A column of spans holds JSON, or lists in the
notation of Python, which pandas writes. Tables with a token in a row have columns for the token, its tag, and the
number of its sentence, which may be empty in all rows of a sentence but the first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from loop.files.formats.json_shapes.shapes import JsonShape, open_values
from loop.files.formats.tables.csv_rows import Layout, layout_of_file, layout_of_head, rows
from loop.files.formats.tables.table_rows import PARSED, TEXT, TOKENS, Columns, columns_of, looks_like_spans
from loop.files.raw.inputs import Input
from loop.files.raw.json_values import PlacedValue, parse_json
from loop.files.raw.lines import UNREADABLE_REST
from loop.files.records import ANNOTATION_KEYS, FileFormat, FileHints, Opened, Source
from loop.files.seen import Seen
from ner.errors import InputError

# Words for a cell without a value, as pandas and spreadsheets write them.
MISSING = ("", "nan", "none", "null", "<na>", "n/a", "#n/a")
_WORDS, _TAGS = (
    ("word", "token", "words", "form"),
    ("tag", "ner", "ner_tag", "ner tag", "iob", "bio", "entity", "label"),
)
_SENTENCES = (
    "sentence #",
    "sentence",
    "sentence_id",
    "sentence id",
    "sentence_idx",
    "sent_id",
    "sent",
    "sentence_number",
)
_DOCUMENTS = ("doc", "document", "doc_id", "document_id", "docid", "doc_idx", "doc id", "document id", "document #")
_STRINGS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_WRITE = "Correct the cell, or write the column with json.dumps; arrays of NumPy are no lists."
_LONGEST_LITERAL = 1_000_000
_SHOWN = 500
CUT_OFF = "The file does not end with a line end: its last row may be cut off."


def csv_format(shapes: Sequence[JsonShape]) -> FileFormat:
    """CSV and TSV files whose rows, as objects, have one of these shapes."""
    return FileFormat("csv", "CSV or TSV with named columns", _recognise, partial(_open, shapes))


def has_columns(file: Input, names: Sequence[str]) -> bool:
    """Whether a file is a table with columns of these names."""
    wanted = {name.casefold() for name in names}
    return layout_of_head(file.head, lambda header: wanted <= {name.casefold() for name in header}) is not None


def _recognise(file: Input) -> bool:
    return b"\0" not in file.head and layout_of_head(file.head, _is_known) is not None


def _is_known(header: Sequence[str]) -> bool:
    """Whether names of columns say that a table holds texts, or tokens, with what people said of them."""
    names = {name.casefold() for name in header}
    annotated = len(header) > 1 and not names.isdisjoint(ANNOTATION_KEYS)
    return TEXT in names or _token_columns(header, FileHints()) is not None or annotated


def _open(shapes: Sequence[JsonShape], file: Input, source: Source) -> Opened:
    layout = layout_of_head(file.head, _is_known) or layout_of_head(file.head, lambda header: bool(header))
    if layout is None:
        step = "Name the columns in the first row, the one of the texts `text`."
        raise InputError("a table names its columns in the first row", value=file.head[:80], next_step=step)
    layout = layout_of_file(file.rewound(), layout)
    said = (layout.said, *(() if file.ends_with_line() else (CUT_OFF,)))
    tokens = _token_columns(layout.header, source.hints)
    if tokens is not None:
        if tokens.sentence is None:
            _check_parted(file, layout)
        if source.texts_only:
            tokens = replace(tokens, tag=None)
        said = (*said, *_said_of_returning(file, layout, tokens))
        return open_values(partial(_sentences, file, layout, tokens), source, shapes, said)
    columns = columns_of(layout.header, source)
    return open_values(partial(_texts, file, layout, columns, source), source, shapes, (*said, columns.said))


def _texts(file: Input, layout: Layout, columns: Columns, source: Source) -> Iterator[PlacedValue]:
    """Each row as an object, with the number that the row has in a spreadsheet."""
    for where, cells, error in _until_broken(file, layout):
        try:
            if error is not None:
                raise error
            pairs = zip(columns.keys, cells, strict=True)
            value: Any = columns.value([_cell(key, cell) for key, cell in pairs])
            if TEXT in columns.keys and value.get(TEXT) is None and source.texts_only:
                value[TEXT] = ""
        except InputError as fault:
            value = fault
        yield where, value, layout.delimiter.join(cells)[:_SHOWN]


def _until_broken(file: Input, layout: Layout) -> Iterator[tuple[str, list[str], InputError | None]]:
    """(place, cells, what is wrong) of each row that is not blank; bad quoting ends the rows."""
    try:
        for number, cells in rows(file.rewound(), layout):
            if cells:
                yield f"row {number}", cells, None if layout.fits(cells) else _misfit(cells, layout)
    except InputError as error:
        yield UNREADABLE_REST, [], error


def _misfit(cells: Sequence[str], layout: Layout) -> InputError:
    return InputError(
        "a row has a cell for each column",
        value=f"{len(cells)} cells for {len(layout.header)} columns ({', '.join(layout.header)})",
        next_step="Correct the row: a cell that holds the delimiter, a quote or a line end stands in quotes.",
    )


def _cell(key: str | None, cell: str) -> Any:
    """What a cell says: a value where its column holds JSON, a list of spans under any name, else text."""
    if key is None or cell.strip().casefold() in MISSING:
        return None if key in (None, TEXT, "id", "doc", *PARSED) or not cell.strip() else cell
    if key in ("id", "doc"):
        return re.sub(r"\A(-?\d+)\.0\Z", r"\1", cell)  # pandas makes floats of numbers in a column with a gap
    if key == TEXT:
        return cell
    if key in PARSED or key == "--columns":
        return _parsed(key, cell)
    if cell.lstrip().startswith(("[{", "[[", "[(")):
        try:
            value = _parsed(key, cell)
        except InputError:
            return cell
        return value if looks_like_spans(value) else cell
    return cell


def _parsed(key: str, cell: str) -> Any:
    """JSON, or a list or object in the notation of Python; any other text stays text. Raises InputError."""
    try:
        return parse_json(cell)
    except InputError as error:
        if not cell.lstrip().startswith(("[", "{", "(")):
            return cell
        try:
            return _literal(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise InputError(f"`{key}` holds JSON", value=cell[:80], next_step=_WRITE) from error


def _literal(cell: str) -> Any:
    """A list or object in the notation of Python. Raises ValueError or SyntaxError.

    Strings that stand side by side are refused: NumPy writes arrays so, and Python joins them. So is a key twice.
    """
    if len(cell) > _LONGEST_LITERAL or re.search(r"S\s*S", _STRINGS.sub("S", cell.replace("S", "s"))):
        raise ValueError(cell[:80])
    tree = ast.parse(cell, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [ast.dump(key) for key in node.keys if key is not None]
            if len(set(keys)) != len(keys):
                raise ValueError(cell[:80])
    return _as_json(ast.literal_eval(tree))


def _as_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _as_json(one) for key, one in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(repr(value)[:80])


@dataclass(frozen=True)
class _TokenColumns:
    """The places of the columns; `sentence` is None where blank rows part the sentences, `tag` where none is wanted."""

    word: int
    tag: int | None
    sentence: int | None
    doc: int | None


@dataclass
class _Sentence:
    row: int
    name: str = ""
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    doc: str | None = None
    error: InputError | None = None


def _token_columns(header: Sequence[str], hints: FileHints) -> _TokenColumns | None:
    """The columns of a table with a token in a row; None for a table of another kind."""
    folded = [name.casefold() for name in header]
    sentence = next((folded.index(name) for name in _SENTENCES if name in folded), None)
    if len(hints.columns) == 2 and sentence is not None:
        named = [name.casefold() for name in hints.columns]
        found = [folded.index(name) for name in named if name in folded]
        word, tag = found if len(found) == 2 else (None, None)
    elif TEXT in folded or hints.columns:
        return None
    else:
        word = next((folded.index(name) for name in _WORDS if name in folded), None)
        tags = (*_TAGS, "labels") if sentence is not None else _TAGS  # `words` and `labels` alone hold lists
        tag = next((folded.index(name) for name in tags if name in folded), None)
    if word is None or tag is None or sentence in (word, tag):
        return None
    doc = next((folded.index(name) for name in _DOCUMENTS if name in folded), None)
    return _TokenColumns(word, tag, sentence, None if doc in (word, tag, sentence) else doc)


def _sentences(file: Input, layout: Layout, columns: _TokenColumns) -> Iterator[PlacedValue]:
    """Each sentence as an object with its tokens and tags."""
    for sentence in _gathered(file, layout, columns):
        value: dict[str, Any] = {TOKENS: sentence.tokens}
        if columns.tag is not None:
            value["ner_tags"] = sentence.tags
        if sentence.doc:
            value["doc"] = sentence.doc
        yield f"row {sentence.row}", sentence.error or value, " ".join(sentence.tokens)[:_SHOWN]


def _check_parted(file: Input, layout: Layout) -> None:
    """Raise InputError for a table of words that are in no sentence, such as a list of names."""
    blank = False
    for _, cells in rows(file.rewound(), layout):
        if blank and cells:
            return
        blank = blank or not cells
    raise InputError(
        "a table with a token in a row has a column that numbers its sentences, or empty rows between them",
        value=f"the columns {', '.join(layout.header)}",
        next_step="Add a column `sentence_id`.",
    )


def _said_of_returning(file: Input, layout: Layout, columns: _TokenColumns) -> Iterator[str]:
    """A sentence on numbers of sentences that stand in one document again, behind others."""
    seen = Seen()
    first, returning = "", 0
    for sentence in _gathered(file, layout, columns) if columns.sentence is not None else ():
        if seen.add(f"{sentence.doc}\0{sentence.name}") > 1:
            first = first or f"{sentence.name!r} in row {sentence.row}"
            returning += 1
    if returning:
        yield (
            f"The number of a sentence returns {returning:,} times behind other sentences, such as {first}: "
            "its rows are read as a further sentence. Sort the rows if they belong together."
        )


def _gathered(file: Input, layout: Layout, columns: _TokenColumns) -> Iterator[_Sentence]:
    current: _Sentence | None = None
    try:
        for number, cells in rows(file.rewound(), layout):
            name, doc = _cell_at(cells, columns.sentence), _cell_at(cells, columns.doc)
            ends = not cells and columns.sentence is None
            last = current or _Sentence(number)
            other_doc = bool(doc) and bool(last.tokens) and doc != last.doc
            if ends or current is None or other_doc or (name and name != current.name):
                if current is not None and (current.tokens or current.error):
                    yield current
                current = _Sentence(number, name or last.name, doc=None if doc else last.doc)
            if cells:
                _add(current, cells, layout, columns)
    except InputError as error:
        current = current or _Sentence(1)
        current.error = current.error or error
    if current is not None and (current.tokens or current.error):
        yield current


def _cell_at(cells: Sequence[str], place: int | None) -> str:
    return cells[place].strip() if place is not None and len(cells) > place else ""


def _add(sentence: _Sentence, cells: list[str], layout: Layout, columns: _TokenColumns) -> None:
    if not layout.fits(cells):
        sentence.error = sentence.error or _misfit(cells, layout)
        return
    word, tag = cells[columns.word].strip(), "O" if columns.tag is None else cells[columns.tag].strip()
    if not word or not tag:
        step = "Fill the cell, or remove the row."
        sentence.error = sentence.error or InputError("a token has a word and a tag", value=cells, next_step=step)
    sentence.tokens.append(word)
    sentence.tags.append(tag)
    if columns.doc is not None:
        sentence.doc = cells[columns.doc].strip() or sentence.doc
