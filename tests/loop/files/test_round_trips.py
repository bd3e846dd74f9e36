"""Files of every format give back the texts and the gold that they were made of, and so do files made of these.

Texts are of many scripts, with any line ends. `LOOP_EXAMPLES` in the environment sets how many files a format has.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loop.files.audit import believed
from loop.files.reading import Request, open_readings
from loop.files.records import FileHints
from loop.files.writing.conll import write_conll
from loop.files.writing.datasets_folder import write_datasets
from loop.files.writing.docbin import docbin_bytes
from loop.files.writing.jsonl import write_doccano, write_jsonl
from loop.files.writing.label_studio import write_label_studio
from loop.files.writing.texts import BILOU, StoredText, TaggedText
from ner.labels import LabelSet
from ner.spans import Span
from scripts.files.sample_files import FORMATS, LABELS, SampleFormat
from tests.loop.files.read import CONFIG, record
from tests.loop.files.texts import labelled

EXAMPLES = int(os.environ.get("LOOP_EXAMPLES", "60"))
SLOW = ("datasets folder",)  # a file takes a tenth of a second
SETTINGS = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
# A file of strange texts alone may look like another format, above all one without a single tag.
ORDINARY = StoredText(
    "ordinary", "Anna Berg works for Falk in Graz .", (Span(0, 9, "PER"), Span(20, 24, "ORG")), "train"
)
TAKEN = ("ordinary", "plain")


def read_back(path: Path, hints: FileHints) -> list[StoredText]:
    """The texts of a file with their gold; every record is good, and nothing is set aside."""
    found = []
    with open_readings(path, Request(CONFIG, hints=hints)) as (reading,):
        for item in reading.records():
            one = record(item)
            said = believed(one)
            assert not one.aside, one.aside
            assert not any(annotation.set_aside for annotation in one.annotations), one.annotations
            spans = None if said is None else said.spans
            found.append(StoredText(one.external_id or "", one.text, spans, "train", one.group, one.meta))
    return found


def essence(texts: Iterable[StoredText], *, ids: bool = True) -> list[tuple[str | None, str, tuple[Span, ...] | None]]:
    """What must come back of texts: ids, texts and gold."""
    return [(one.external_id if ids else None, one.text, one.spans) for one in texts]


@st.composite
def files_of_texts(draw: st.DrawFn, *, unlabelled: bool = True) -> list[StoredText]:
    """Texts as a store holds them, no two of one text, with an ordinary one at their head."""
    texts = [ORDINARY]
    for number, (text, spans) in enumerate(draw(st.lists(labelled(LABELS), max_size=3, unique_by=lambda one: one[0]))):
        said = None if unlabelled and draw(st.integers(0, 3)) == 0 else spans
        texts.append(StoredText(f"d{number}", text, said, "train"))
    return texts


def dressed(content: bytes, one: SampleFormat, mark: bool, crlf: bool) -> bytes:
    """The same file with a byte order mark and with CRLF at the ends of its lines, where the format has these."""
    if not one.is_text:
        return content
    if crlf and not one.file.endswith(".csv"):  # whose lines end so already; a cell may hold a line end
        content = content.replace(b"\n", b"\r\n")
    return codecs.BOM_UTF8 * mark + content


def examples(one: SampleFormat) -> int:
    """How many files of a format are tried."""
    return max(1, EXAMPLES // 4) if one.name in SLOW else EXAMPLES


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_a_file_gives_back_its_texts_and_gold(one: SampleFormat):
    @settings(max_examples=examples(one), **SETTINGS)
    @given(files_of_texts(), st.booleans(), st.booleans())
    def check(written: list[StoredText], mark: bool, crlf: bool) -> None:
        written = [text for text in written if one.holds(text)]
        with TemporaryDirectory() as folder:
            path = one.save(Path(folder), written)
            if path.is_file():
                path.write_bytes(dressed(path.read_bytes(), one, mark, crlf))
            read = read_back(path, one.hints)
        assert essence(read, ids=one.ids) == essence(map(one.kept, written), ids=one.ids)

    check()


# Every pair of the formats that are exported

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=5).filter(
    lambda name: name.strip() and name not in TAKEN
)
META = st.dictionaries(st.sampled_from(["year", "ключ", "a b"]), st.integers() | NAMES | st.booleans(), max_size=2)
Write = Callable[[Path, Sequence[StoredText]], None]


def _lines(write: Callable[[Sequence[StoredText]], Iterable[str]]) -> Write:
    return lambda path, texts: path.write_bytes("".join(write(texts)).encode()) and None


EXPORTS: dict[str, Write] = {
    "jsonl": _lines(write_jsonl),
    "doccano": _lines(write_doccano),
    "label-studio": _lines(lambda texts: write_label_studio(texts, CONFIG)),
    "conll": _lines(lambda texts: write_conll(map(TaggedText.of, texts))),
    "conll-bilou": _lines(lambda texts: write_conll(map(TaggedText.of, texts), BILOU)),
    "spacy": lambda path, texts: path.write_bytes(docbin_bytes(map(TaggedText.of, texts))) and None,
    "datasets": lambda path, texts: write_datasets(path, map(TaggedText.of, texts), LabelSet(LABELS)),
}
PAIRS = list(permutations(EXPORTS, 2))


@st.composite
def exported(draw: st.DrawFn) -> list[StoredText]:
    """Labelled texts with all that a store knows of them."""
    texts = draw(files_of_texts(unlabelled=False))
    names = draw(st.lists(NAMES, min_size=len(texts), max_size=len(texts), unique=True))
    kept = [replace(one, external_id=name) for one, name in zip(texts, names, strict=True)]
    return [replace(one, group=draw(st.none() | NAMES), meta=draw(META)) for one in kept]


@pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)
def test_what_is_exported_read_and_exported_again_is_the_same(pair: tuple[str, str]):
    number = max(1, EXAMPLES // (40 if "datasets" in pair else 6))

    @settings(max_examples=number, **SETTINGS)
    @given(exported())
    def check(written: list[StoredText]) -> None:
        read = written
        with TemporaryDirectory() as folder:
            for name in pair:
                EXPORTS[name](Path(folder) / name, read)
                read = read_back(Path(folder) / name, FileHints())
                assert read == written

    check()
