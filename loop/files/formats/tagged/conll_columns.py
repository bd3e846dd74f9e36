"""The columns of a CoNLL file: which of them holds the tokens and which the tags, found by what stands in them.

The tags are known by their letters (`B-PER`) and by O. The token stands in the first column, unless that column holds
the tags or counts the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from loop.files.formats.tagged.tags import BARE, OUTSIDE_SIGNS, TagScheme, TagSurvey, has_letter
from loop.files.records import FileHints
from loop.files.words import is_unspaced
from loop.files.writing.conll import read_comment
from ner.errors import InputError

_MOST_SINGLE, _LEAST_ROWS, _LEAST_ROWS_OF_TYPES = 2, 20, 3
_MOST_WIDTHS, _MOST_COLUMNS = 32, 64
_KEYED = re.compile(r"#+ [\w.:-]+ ?= ?")
_BEGIN = "#begin document"  # of CoNLL-2012
_NOTE = re.compile(rf"#+(\s|$)|###|{_BEGIN}|#end document")
_BRACKETS = re.compile(r"(\([^\s()*]+)*\*?\)*")
_NOT_IN_TAGS = re.compile(r"[\"\[\]{}<>=,;*]")
_MORE_THAN_ONE_TAG = re.compile(r"\s+(O|[BIELSU][-_.]\S+)(\s|$)")
# The types of chunks: Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 shared task: chunking", 2000.
_CHUNKS = frozenset(("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"))
_HEADINGS = frozenset(
    (
        *("id", "index", "sentence", "sentence_id", "token", "tokens", "word", "words", "form", "text", "lemma"),
        *("pos", "pos_tag", "upos", "xpos", "chunk", "chunk_tag", "tag", "tags", "label", "labels"),
        *("ner", "ner_tag", "ner_tags", "ne", "entity", "iob", "iob_tag", "bio"),
    )
)


@dataclass(frozen=True)
class ColumnLayout:
    """How the rows of a file are read. token, tag: places in a row, from 0. tags: all that the file has.

    unread: the tags among them that the scheme does not have. heading: the number of the line that names the columns;
    None where no line does. grouped: whether -DOCSTART- groups the texts behind. own: whether the file is our own
    export, where comments stand before each text. closed: the further columns of a few values, such as parts of speech,
    with the number of each value. by_script: whether tokens of scripts without spaces are joined without one; Label
    Studio parts tokens at spaces. said: sentences for people.
    """

    width: int
    token: int
    tag: int
    scheme: TagScheme
    tags: frozenset[str]
    unread: frozenset[str] = frozenset()
    heading: int | None = None
    grouped: bool = True
    own: bool = False
    closed: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    by_script: bool = True
    said: tuple[str, ...] = ()

    def is_row(self, line: str, row: Sequence[str]) -> bool:
        """Whether a line is a row, even a row with a fault, and no comment. A row may begin with `#`, a token."""
        return not is_comment(line, row) or (
            _KEYED.match(line) is None and len(row) == self.width and row[self.tag] in self.tags
        )

    def token_and_tag(self, line: str, row: Sequence[str]) -> tuple[str, str]:
        """The token and the tag of a row. Raises InputError for another width, no token, or a tag of no scheme."""
        if len(row) != self.width:
            raise InputError(
                f"a row has {self.width} columns, as most rows of the file, parted by a tab or by spaces",
                value=f"{len(row)} in {line!r}",
                next_step="Correct the row; comments begin with '# ' and stand before the tokens of a text.",
            )
        if not row[self.token]:
            raise InputError("a row has a token", value=line, next_step="Correct or remove the row.")
        if row[self.tag] in self.unread:
            self.scheme.part(row[self.tag])
        self._check_order(line, row)
        return row[self.token], row[self.tag]

    def _check_order(self, line: str, row: Sequence[str]) -> None:
        """Raise InputError where the token is a value of a closed column, and this column has a value of its own."""
        for place, values in self.closed.items():
            is_value = values.get(row[self.token], 0) > 2 and row[self.token][0].isalpha()
            if is_value and values.get(row[place]) == 1:
                raise InputError(
                    "each row has its columns in one order",
                    value=f"{row[self.token]!r} and {row[place]!r}, which seem to be swapped, in {line!r}",
                    next_step="Correct the row, or remove the columns that are not needed.",
                )


def columns_of(line: str) -> list[str]:
    """The columns of a row: parted by tabs where there are any, else by spaces. A token may hold a no-break space."""
    if "\t" in line:
        row = line.split("\t")
        return [column.strip(" ") for column in row] if " " in line else row
    return [column for column in line.split(" ") if column]


def is_comment(line: str, row: Sequence[str]) -> bool:
    """Whether a line is a comment by what stands in it: it begins with `#`, and none of its columns is a tag."""
    if not line.startswith("#"):
        return False
    if _KEYED.match(line) is not None:
        return True
    return _NOTE.match(line) is not None and not any(column == "O" or has_letter(column) for column in row[1:])


@dataclass
class _Rows:
    """All rows of one width. longest: the most rows of a text.

    texts, counted, numbers: how many texts there are, in how many the first column counts the rows, and in how many
    rows it holds a number. constant: whether the first column is the same in all rows of each text. spaced: in how many
    rows the first column holds a space, as a sentence does and few tokens do.
    """

    columns: list[TagSurvey]
    rows: int = 0
    texts: int = 0
    counted: int = 0
    numbers: int = 0
    constant: bool = True
    longest: int = 0
    spaced: int = 0

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        self.rows += len(rows)
        self.longest = max(self.longest, len(rows))
        columns = list(zip(*rows, strict=True))
        for survey, column in zip(self.columns, columns, strict=True):
            survey.add(column)
        self.texts += 1
        self.counted += _counts(columns[0])
        self.numbers += sum(value.isascii() and value.isdigit() for value in columns[0])
        self.spaced += sum(" " in value for value in columns[0])
        self.constant = self.constant and len(set(columns[0])) == 1

    @property
    def counts(self) -> bool:
        """Whether the first column counts the rows of texts. A text that lacks a row does not change that."""
        return self.counted * 2 > self.texts and self.numbers * 10 >= self.rows * 9


@dataclass
class ColumnSurvey:
    """What stands in the columns of a whole file, or of its beginning. Its memory does not grow with the file."""

    rows: int = 0
    first: tuple[int, str] | None = None
    heading: int | None = None
    tabs: bool = False
    own: bool = False
    unspaced: bool = False
    foreign: int = 0
    foreign_line: str = ""
    _widths: dict[int, _Rows] = field(default_factory=dict)

    def add(self, lines: Iterable[tuple[int, str | InputError]]) -> None:
        """The lines of one more text."""
        by_width: dict[int, list[list[str]]] = {}
        for number, line in lines:
            if isinstance(line, InputError):
                continue
            row = columns_of(line)
            if is_comment(line, row):
                self._add_comment(line)
                continue
            if self.first is None:
                self.first = number, line
                if len(row) > 1 and all(name.lower() in _HEADINGS for name in row):
                    self.heading = number
                    continue
            self.tabs = self.tabs or "\t" in line
            self.unspaced = self.unspaced or is_unspaced(line)
            by_width.setdefault(len(row), []).append(row)
        for width, rows in by_width.items():
            self.rows += len(rows)
            if width <= _MOST_COLUMNS and (width in self._widths or len(self._widths) < _MOST_WIDTHS):
                self._widths.setdefault(width, _Rows([TagSurvey() for _ in range(width)])).add(rows)

    def _add_comment(self, line: str) -> None:
        comment = read_comment(line)
        if comment is not None:
            self.own = self.own or comment[0] == "id"  # stands before each text of our own export
            return
        self.foreign += 1
        self.foreign_line = self.foreign_line or line

    def layout(self, hints: FileHints, labels: Collection[str], *, texts_only: bool = False) -> ColumnLayout:
        """How the file is read. `labels`: the project's. texts_only: tags are not wanted, and refuse nothing.

        Raises InputError, which says what was looked for and found.
        """
        choice: tuple[str, ...] = ()
        width, rows = max(self._widths.items(), key=lambda item: item[1].rows, default=(0, _Rows([])))
        if width < 2:
            raise InputError(
                "a CoNLL file has a token and its tag on a line",
                value=self._first(),
                next_step="Name another format with --format.",
            )
        if hints.columns:
            token, tag = _named_columns(hints.columns, width)
            if token == 0 and width > 2 and rows.counts and rows.longest > 1:
                raise InputError(
                    "the column of the tokens holds words",
                    value=f"column 1, which counts the tokens; {self._first()}",
                    next_step=f"Write --columns 2,{tag + 1}." if tag != 1 else "Name the column of the words.",
                )
        elif self.own and width == 2:
            token, tag = 0, 1  # of our own export, whatever its labels hold
        else:
            try:
                tag, choice = _tag_column(rows, hints.tag_scheme, labels, self._first())
            except InputError:
                if not texts_only:
                    raise
                tag = width - 1
            token = _token_column(rows, tag)
        survey = rows.columns[tag]
        scheme = TagScheme(BARE) if texts_only else survey.scheme(hints.tag_scheme)
        return ColumnLayout(
            width=width,
            token=token,
            tag=tag,
            scheme=scheme,
            tags=frozenset(survey.tags),
            unread=frozenset() if texts_only else frozenset(t for t in survey.tags if not scheme.reads(t)),
            heading=self.heading,
            grouped=not _is_of_label_studio(rows),
            own=self.own,
            by_script=not _is_of_label_studio(rows),
            closed={} if texts_only else dict(_closed_columns(rows, (token, tag))),
            said=(*_said(width, token, tag, self.heading), *choice, *scheme.said, *self._said_of_comments()),
        )

    def _said_of_comments(self) -> Iterator[str]:
        if self.foreign:
            shown = "1 comment line was" if self.foreign == 1 else f"{self.foreign:,} comment lines were"
            yield f"{shown} not read, such as {self.foreign_line[:60]!r}."

    def is_conll(self) -> bool:
        """Whether nine of ten rows are of one width, and nine of ten of them have a tag in the same column."""
        rows = max(self._widths.values(), key=lambda one: one.rows, default=None)
        if rows is None or len(rows.columns) < 2 or (self.heading is not None and self.tabs):
            return False  # a table names its columns
        if (self.own and len(rows.columns) == 2) or self.foreign_line.startswith(_BEGIN):
            return True
        if rows.rows * 10 < self.rows * 9:
            return False
        found = [place for place in _tag_columns(rows, least=0.9) if self._is_certain(rows, rows.columns[place])]
        return bool(found) or _is_conll_u(rows) or (len(rows.columns) > 2 and any(map(_is_brackets, rows.columns)))

    def _is_certain(self, rows: _Rows, survey: TagSurvey) -> bool:
        """Whether the column is no part of running text (`vitamin O`, `the U-Bahn`) or of a table of sentences."""
        lettered = [tag for tag in survey.tags if has_letter(tag)]
        if lettered and not any(map(_names_a_type, lettered)):
            return False  # `B-12` is a number of something
        if self.tabs:
            return bool(lettered) or rows.spaced * 10 <= rows.rows
        has_outside = survey.total > 1 and any(sign in survey.tags for sign in OUTSIDE_SIGNS)
        all_types = len(lettered) == len(survey.tags) and all(tag.isupper() for tag in lettered)
        return has_outside or (all_types and rows.rows == self.rows >= _LEAST_ROWS_OF_TYPES)

    def _first(self) -> str:
        return "no row" if self.first is None else f"line {self.first[0]}: {self.first[1]}"


def _tag_column(rows: _Rows, scheme: str | None, labels: Collection[str], first: str) -> tuple[int, tuple[str, ...]]:
    """The column of the tags, and what is said of others. Raises InputError where none or more than one holds tags."""
    found = _tag_columns(rows, least=0.5)
    if not found and scheme == BARE:
        return len(rows.columns) - 1, ()
    if not found:
        raise _without_tags(rows, first)
    found = [place for place in found if place > 0] or found  # tokens may look like tags: `B-cell`
    types = {place: _types(rows.columns[place], scheme) for place in found}
    found = [place for place in found if not types[place] or not types[place] <= _CHUNKS] or found
    found = [place for place in found if types[place]] or found
    ours = [place for place in found if not types[place].isdisjoint(labels)] or found
    others = [place for place in found if place not in ours]
    found = ours
    if len(found) > 1:
        shown = " and ".join(str(place + 1) for place in found)
        raise InputError(
            "one column of a CoNLL file holds the tags to learn",
            value=f"columns {shown} hold tags; {first}",
            next_step="Name the columns of token and tag with --columns, such as "
            f"--columns {_token_column(rows, found[0]) + 1},{found[0] + 1}.",
        )
    return found[0], tuple(
        f"Column {place + 1} holds entities, too, and is not read: none of its labels "
        f"({', '.join(sorted(types[place])[:3])}) is a label of the project."
        for place in others
    )


def _tag_columns(rows: _Rows, *, least: float) -> list[int]:
    """The columns of which this share is a tag. Bare types count only where no column has tags with letters."""
    places = range(len(rows.columns))
    lettered = [place for place in places if _has_letters(rows.columns[place], least)]
    return lettered or [place for place in places if _has_types(rows.columns[place])]


def _has_letters(survey: TagSurvey, least: float) -> bool:
    """Whether this share of a column are tags with letters or signs for outside, with at least one letter or O."""
    tags = survey.tags
    lettered = {tag: count for tag, count in tags.items() if has_letter(tag) and _is_one_tag(tag)}
    outside = sum(tags.get(sign, 0) for sign in OUTSIDE_SIGNS)
    return (bool(lettered) or "O" in tags) and sum(lettered.values()) + outside >= least * survey.total


def _is_one_tag(tag: str) -> bool:
    return _NOT_IN_TAGS.search(tag) is None and _MORE_THAN_ONE_TAG.search(tag) is None


def _has_types(survey: TagSurvey) -> bool:
    """Whether a column holds O and a few types: O is a fifth of it at least, and each type is one word."""
    tags, outside = survey.tags, survey.tags.get("O", 0)
    words = all(re.fullmatch(r"[^\W\d_][\w./&+:-]*", tag) for tag in tags)
    return (
        outside * 5 >= survey.total and 0 < outside < survey.total and words and len(tags) <= max(5, survey.total // 5)
    )


def _names_a_type(tag: str) -> bool:
    """Whether a letter stands in the type of the tag, too."""
    return sum(character.isalpha() for character in tag) > 1


def _types(survey: TagSurvey, scheme: str | None) -> set[str]:
    try:
        found = survey.scheme(scheme)
    except InputError:
        return set()
    parts = (found.part(tag) for tag in survey.tags if found.reads(tag))
    return {part.label for part in parts if part is not None}


def _without_tags(rows: _Rows, first: str) -> InputError:
    if any(_is_brackets(survey) for survey in rows.columns):
        return InputError(
            "tags are types with or without letters, such as B-PER; the brackets of CoNLL-2012 are not read",
            value=first,
            next_step="Convert the brackets to IOB2, with a token and its tag on a line.",
        )
    if _is_conll_u(rows):
        return InputError(
            "one column of a CoNLL file holds the tags; entities in MISC of CoNLL-U are not read",
            value=first,
            next_step="Write a token and its tag on a line.",
        )
    return InputError(
        "one column of a CoNLL file holds the tags: O, and types with or without letters, such as B-PER",
        value=first,
        next_step="Name the columns of token and tag with --columns, such as --columns 1,-1.",
    )


def _is_brackets(survey: TagSurvey) -> bool:
    """Whether a column holds the brackets of CoNLL-2012, of which one begins an entity; a lone `*` may be a word."""
    tags = survey.tags
    return "*" in tags and any(tag[0] == "(" for tag in tags) and all(_BRACKETS.fullmatch(tag) for tag in tags)


def _is_conll_u(rows: _Rows) -> bool:
    return len(rows.columns) == 10 and (rows.counts or all("_" in survey.tags for survey in rows.columns[8:]))


def _is_of_label_studio(rows: _Rows) -> bool:
    """Whether Label Studio wrote the rows (`Anna -X- _ B-PER`); its one -DOCSTART- stands before all tasks."""
    return len(rows.columns) == 4 and set(rows.columns[1].tags) == {"-X-"} and set(rows.columns[2].tags) == {"_"}


def _token_column(rows: _Rows, tag: int) -> int:
    """The first column that holds no tag and no count of the tokens. Raises InputError where it holds no token."""
    width = len(rows.columns)
    if tag == 0 and width == 2:
        return 1
    if width > 2 and rows.longest > 1 and rows.counts and tag > 1:
        return 1
    if tag == 0 or (width > 2 and rows.longest > 1 and rows.constant):
        raise InputError(
            "the first column of a CoNLL file holds the tokens",
            value="tags" if tag == 0 else "the same in every row of a text",
            next_step="Name the columns of token and tag with --columns, such as --columns 2,-1.",
        )
    return 0


def _counts(column: Sequence[str]) -> bool:
    if not (column[0].isascii() and column[0].isdigit() and len(column[0]) < 10):
        return False
    start = int(column[0])
    return all(value == str(start + step) for step, value in enumerate(column))


def _named_columns(names: Sequence[str], width: int) -> tuple[int, int]:
    """The places of token and tag that --columns names."""
    try:
        places = [int(name) for name in names]
        valid = len(places) == 2 and all(place != 0 and -width <= place <= width for place in places)
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            f"--columns names the columns of token and tag of {width} columns, from 1 on, or from -1 for the last",
            value=",".join(names),
            next_step="Write --columns 1,-1 for the first and the last.",
        )
    token, tag = (place - 1 if place > 0 else place + width for place in places)
    if token == tag:
        raise InputError("the token and its tag stand in two columns", value=",".join(names), next_step="Name two.")
    return token, tag


def _closed_columns(rows: _Rows, read: Collection[int]) -> Iterator[tuple[int, Mapping[str, int]]]:
    """The columns that are not read and in which values recur: a column of lemmas has many that stand there once."""
    for place, survey in enumerate(rows.columns):
        once = sum(count == 1 for count in survey.tags.values())
        if place not in read and survey.tags and once <= _MOST_SINGLE and survey.total >= _LEAST_ROWS:
            yield place, survey.tags


def _said(width: int, token: int, tag: int, heading: int | None) -> list[str]:
    said = [] if heading is None else [f"Line {heading} names the columns and holds no token."]
    if width > 2 or token != 0:
        said.append(f"Of {width} columns, column {token + 1} is read as the token and column {tag + 1} as the tag.")
    return said
