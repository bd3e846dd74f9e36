"""What a file is that no reader recognises, in a few words, and what to do: by its first bytes.

What looks like a format with a fault in it is named, so that nobody's annotations are read as plain text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass

from loop.files.raw.inputs import HEAD_BYTES, Input
from loop.files.raw.lines import TO_UTF8
from ner.errors import InputError

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_TAG = re.compile(r"(O|[BIESLUMW][-_].+|.+[-_][BIESLU])")
_PAIR = re.compile(r'"\w+"+\s*:\s*(["\[{\d-]|null|true|false)')
_ANNOTATED = re.compile(r'"(start|end|labels?|spans|entities|tokens|ner_tags|annotations|completions|text)"+\s*:')
_LINES = 200
_ICONV = "Convert it: iconv -f {} -t UTF-8 OLD > NEW."
_TR = "Convert it: tr '\\r' '\\n' < OLD > NEW."
NOT_UTF8 = "text that is not UTF-8"


@dataclass(frozen=True)
class Kind:
    """What a file is or looks like, as a noun: "a PDF"; and what to do."""

    what: str
    step: str


CR_ALONE = Kind("text whose lines end with CR alone, as on the first Macintosh computers", _TR)
_CONVERT = "Save its texts in a format that is read here, in UTF-8."
_UNPACK = "Unpack it first."
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "a PDF", "Save its text as plain text in UTF-8, or export the annotations in another format."),
    (b"{\\rtf", "a file in Rich Text Format", "Save it as plain text in UTF-8."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file", "Save it as CSV or as plain text, in UTF-8."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a file packed by zstd", _UNPACK),
    (b"\x04\x22\x4d\x18", "a file packed by lz4", _UNPACK),
    (b"\x1f\x9d", "a file packed by compress", _UNPACK),
    (b"SQLite format 3\0", "an SQLite database", "Export its rows as CSV or JSON Lines."),
    (b"\x89PNG", "an image", _CONVERT),
    (b"\xff\xd8\xff", "an image", _CONVERT),
    (b"GIF8", "an image", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", _CONVERT),
    (b"\x89HDF", "an HDF5 file", _CONVERT),
    (b"Obj\x01", "an Avro file", "Write it as Parquet or JSON Lines."),
    (b"ORC", "an ORC file", "Write it as Parquet or JSON Lines."),
    (b"version https://git-lfs", "a pointer of Git LFS, and not the file", "Fetch the file itself: git lfs pull."),
)
# Byte-order marks; those of UTF-32 begin as those of UTF-16 do.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


@dataclass(frozen=True)
class _Text:
    """The first part of a file as text: from its first word on, and its first lines that are not blank."""

    start: str
    lines: list[str]


def encoding_of(head: bytes) -> Kind | None:
    """Text in UTF-16 or UTF-32, by its byte-order mark or its many zeros; None for anything else."""
    for mark, name in _MARKS:
        if head.startswith(mark) and head[:4] != b"\xff\xff\xff\xff":
            return Kind(f"text in {name}", _ICONV.format(name))
    for name, place in (("UTF-16LE", 1), ("UTF-16BE", 0)):
        zeros, others = head[place:400:2], head[1 - place : 400 : 2]
        if len(head) >= 8 and zeros.count(0) * 10 >= len(zeros) * 7 and others.count(0) * 10 <= len(others):
            return Kind(f"text in {name}", _ICONV.format(name))
    return None


def kind_of(file: Input) -> Kind | None:
    """What a file is that is not read, or the format that it looks like with a fault in it; None for plausible text."""
    head = file.head
    if not head.strip(b" \t\r\n\xef\xbb\xbf\0"):
        return Kind("an empty file" if not head.strip() else "a file without text", "Check the file.")
    for magic, what, step in _MAGIC:
        if head.startswith(magic):
            return Kind(what, step)
    if (encoded := encoding_of(head)) is not None:
        return encoded
    if _CONTROL.search(head):
        return Kind("binary data", _CONVERT)
    if _ends_lines_with_cr(head):
        return CR_ALONE
    text = decoded(head)
    return Kind(NOT_UTF8, TO_UTF8) if text is None else _of_text(text, file.suffix)


def refuse_cr_alone(file: Input) -> None:
    """Raise InputError for a file of lines whose line ends are CR alone: it would be read as one line."""
    if _ends_lines_with_cr(file.head):
        raise InputError("a line ends with LF or CRLF", value=f"{file.name}, {CR_ALONE.what}", next_step=CR_ALONE.step)


def _ends_lines_with_cr(head: bytes) -> bool:
    return b"\r" in head and b"\n" not in head and b"\0" not in head


def decoded(head: bytes) -> str | None:
    """The first bytes of a file as text; None where they are not UTF-8. A character that is cut off is left out."""
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return None


def _of_text(text: str, suffix: str) -> Kind | None:
    lines = [line for line in text.splitlines()[:_LINES] if line.strip()]
    for looks, kind in _LOOKS:
        if looks(_Text(text.lstrip(), lines)):
            return kind
    return _of_suffix(suffix)


def _of_suffix(suffix: str) -> Kind | None:
    """A file whose name says a format that its content is not."""
    if suffix in _SUFFIXES:
        step = "Check the file; name its format with --format if you are sure."
        return Kind(f"a file named {suffix} whose content is not of that format", step)
    return None


_SUFFIXES = (
    *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".conll", ".conllu", ".iob", ".iob2", ".bio", ".bioes"),
    *(".xml", ".html", ".htm", ".xmi", ".parquet", ".arrow", ".spacy", ".ann", ".yaml", ".yml", ".toml", ".xlsx"),
    *(".xls", ".docx", ".pdf", ".py", ".ipynb", ".pkl", ".db", ".sqlite", ".gz", ".zip", ".md5", ".ini"),
)


def _is_json(text: _Text) -> bool:
    """A text that begins as JSON does, or lines with pairs of a key and a value."""
    begins = re.match(r'\{\s*("|\}|\Z)|\[\s*([\[{"\]]|\Z)', text.start) is not None
    pairs = sum(_PAIR.search(line) is not None for line in text.lines)
    return begins or pairs * 4 > len(text.lines) or any(_ANNOTATED.search(line) for line in text.lines)


def _is_python_code(text: _Text) -> bool:
    """Lists of tuples, also behind a name: `TRAIN_DATA = [("...", {...})]`. JSON has no tuples."""
    behind_name = re.search(r"^[A-Za-z_]\w*(: ?[\w\[\], ]+)?\s*=\s*[\[({]\s*[\[({'\"]", text.start, re.MULTILINE)
    has_tuple = re.search(r"[\[(,]\s*\(\s*['\"\d]", text.start) is not None
    return has_tuple and (behind_name is not None or re.match(r"[\[(]\s*\(", text.start) is not None)


def _is_python(text: _Text) -> bool:
    return re.match(r"[\[({]\s*[\[({']\s*[\[({'\"]?\w*", text.start) is not None and any(
        sign in text.start for sign in ("':", "',", "')", "}]")
    )


def _is_markup(text: _Text) -> bool:
    """XML or HTML as a whole, or lines with tags around words."""
    tagged = sum(re.search(r"<([A-Za-z][\w:.-]*)(\s[^<>]*)?>[^<>]*</\1\s*>", line) is not None for line in text.lines)
    begins = re.match(r"<[A-Za-z][\w:.-]*(\s[^<>]*)?/?>", text.start) is not None and "</" in text.start
    return begins or text.start.startswith(("<?xml", "<!DOCTYPE", "<!doctype", "<!--")) or tagged * 3 > len(text.lines)


def _is_brat(text: _Text) -> bool:
    return sum(re.match(r"([TREAMN*]\d*)\t\S+ ", line) is not None for line in text.lines) * 2 > len(text.lines)


def _is_webanno(text: _Text) -> bool:
    return text.start.startswith("#FORMAT=WebAnno")


def _is_conll(text: _Text) -> bool:
    """Lines that end with a tag, one in four; or the marks of CoNLL files.

    Words such as `B-House` and `B-12` are no tags where no line ends with O.
    """
    parted = [line.split() for line in text.lines]
    last = [cells[-1] for cells in parted if len(cells) > 1 or "-" in cells[0]]
    tags = [word for word in last if _TAG.fullmatch(word) is not None]
    certain = "O" in tags or any(word.isupper() and sum(map(str.isalpha, word)) > 1 for word in tags)
    return (certain and len(tags) * 4 >= len(text.lines)) or text.start.startswith("-DOCSTART-")


def _is_table(text: _Text) -> bool:
    """Rows with the same number of cells, parted by tabs, or by other marks without a space behind them."""
    if len(text.lines) < 2:
        return False
    lines = [re.sub(r"(?<=\d),(?=\d{3}\b)", "", line) for line in text.lines]  # a comma in a number parts no cells
    for mark in "\t;,|":
        counts = {line.count(mark) for line in lines[:-1]}
        spaced = any(f"{mark} " in line for line in lines)
        if len(counts) == 1 and counts != {0} and (mark == "\t" or not spaced):
            return True
    return False


def _is_named_table(text: _Text) -> bool:
    names = [name.strip().strip('"').casefold() for name in re.split(r"[,;\t|]", text.lines[0])]
    return names == ["text"] or (
        len(names) > 1 and "text" in names and len(names) == len(set(names)) and not any(" " in n for n in names[:3])
    )


def _is_yaml(text: _Text) -> bool:
    keys = any(
        re.match(r"\s*(- )?(text|entities|spans|tokens|nlu|intent|examples):( |$)", line) for line in text.lines[:20]
    )
    return keys or text.start.startswith(("---\n", "---\r\n", "%YAML"))


_PYTHON = Kind("values in the notation of Python", "Write them as JSON, with json.dumps.")
_LOOKS: tuple[tuple[Callable[[_Text], bool], Kind], ...] = (
    (_is_webanno, Kind("a TSV file of WebAnno or INCEpTION", "Export it as CoNLL 2003 or as JSON.")),
    (_is_brat, Kind("annotations of brat", "Convert them to JSON Lines together with their texts.")),
    (_is_python_code, _PYTHON),
    (
        _is_json,
        Kind(
            "broken JSON, or JSON that no shape fits",
            "Check that the file is whole and well-formed JSON or JSON Lines.",
        ),
    ),
    (_is_python, _PYTHON),
    (_is_markup, Kind("XML or HTML", "Export the annotations as JSON, CoNLL or CSV; or save the text alone.")),
    (_is_conll, Kind("tokens and tags with a fault in them", "Correct the file, or name its format: --format conll.")),
    (
        _is_named_table,
        Kind("a table with a fault in its header or first rows", "Correct the file, or name its format: --format csv."),
    ),
    (
        _is_table,
        Kind(
            "a table of which no column is known as that of the texts",
            "Name the columns in a first row, the one of the texts `text`; or name it with --columns and --format csv.",
        ),
    ),
    (_is_yaml, Kind("YAML, or another list of keys and values", "Write it as JSON Lines.")),
)
