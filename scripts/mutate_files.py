"""Corrupt valid files of each format, and show what becomes of each when `loop import --dry-run` reads it.

    .venv/bin/python -m scripts.mutate_files [FORMAT ...] [--mutations 1000] [--seed 13] [--show SILENT] [--unspaced]

- error: the file is refused, or a record of it.
- report: something is said that is not said of the valid file: regions in doubt, suspicions, what was set aside, texts
  that became unlabelled while no gold differs, sentences on what is wrong. That a count differs, or the name of a
  column, is no report.
- equal: each text that came in with gold has the gold of the valid file. Texts may be missing. The gold of a text that
  was changed itself is equal where its entities have the words (up to white space) and labels of the text that it was.
- another truth: the gold differs, and the file is letter for letter the valid file of these other texts or spans (up to
  white space at the ends of spans, which is trimmed everywhere); no reader can know it. Such as offsets that were
  shifted by a whole word, where the file does not repeat the words.
- SILENT: any other change of gold. CRASH: an exception that is no InputError.

Prints Markdown tables of shares, by format and by kind of corruption; with --show the first files of an outcome.
"""

from __future__ import annotations

import argparse
import difflib
import re
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random

from loop.files.audit import Audit, Auditor, believed
from loop.files.reading import Request, open_readings
from loop.files.records import Problem
from loop.files.words import is_unspaced, tokens_of
from loop.files.writing.texts import StoredText, TaggedText, align
from loop.settings.template import config_of_labels
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.spans import Span, trim_whitespace
from scripts.files.mutations import KINDS, Trial
from scripts.files.sample_files import FORMATS, LABELS, SampleFormat
from scripts.files.sample_texts import spaced_text, unspaced_text
from store.annotations import NewAnnotation

ERROR, REPORT, EQUAL, OTHER_TRUTH, SILENT, CRASH = "error", "report", "equal", "another truth", "SILENT", "CRASH"
OUTCOMES = (ERROR, REPORT, EQUAL, OTHER_TRUTH, SILENT, CRASH)
CONFIG = LabelConfig.parse(config_of_labels(",".join(LABELS)))
TEXTS, FILES = 6, 60
_TRIES = 40
_PLAIN_CONLL = ("a.conll", "four.conll")
_EMPTY_LINES = re.compile(b"\n{3,}")  # several part texts as one does
# Sentences that say how a file is read, and that nothing is wrong with it.
_PLAIN = (
    *(
        "Columns:",
        "Splits in the folder",
        "Cells are parted",
        "Tags are read as",
        "The numbers in",
        "The labels of the",
    ),
    *("Of ", "Line ", "Plain text:", "Label Studio's JSON-MIN"),
)


@dataclass(frozen=True)
class Look:
    """What a dry run shows of a file. texts: as they would be stored; gold is `spans`, None where there is none.

    drawn: the same with the spans as they stand in the file, before white space at their ends was trimmed.
    """

    texts: tuple[StoredText, ...] = ()
    drawn: tuple[StoredText, ...] = ()
    said: frozenset[str] = frozenset()
    unlabelled: int = 0
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of one corruption. shown: what a person sees, or the gold that is wrong."""

    format: str
    kind: str
    outcome: str
    shown: str = ""


def look(path: Path, one: SampleFormat) -> Look:
    """Read a file as a dry run does; InputErrors and problems are its `error`."""
    texts: list[StoredText] = []
    drawn: list[StoredText] = []
    said: set[str] = set()
    unlabelled = 0
    try:
        with open_readings(path, Request(CONFIG, hints=one.hints)) as readings:
            for reading in readings:
                auditor = Auditor(reading.rule)
                for item in reading.records():
                    if isinstance(item, Problem):
                        return Look(error=str(item.error))
                    auditor.add(item)
                    decisive = believed(item)
                    text = StoredText(item.external_id or "", item.text, None, "train")
                    texts.append(replace(text, spans=decisive.spans if decisive else None))
                    drawn.append(replace(text, spans=_drawn(decisive) if decisive else None))
                audit = auditor.result()
                said |= {*_warnings(reading.said), *_alarms(audit)}
                unlabelled += audit.unlabelled
    except InputError as error:
        return Look(error=str(error))
    look = Look(tuple(texts), tuple(drawn), frozenset(said), unlabelled)
    return look if texts else Look(error="the file holds no text")


def _drawn(annotation: NewAnnotation) -> tuple[Span, ...]:
    """The regions of an annotation of which each was understood, as they stand in the file."""
    values = [region["value"] for region in annotation.result if isinstance(region.get("value"), dict)]
    good = [one for one in values if type(one.get("start")) is int and type(one.get("end")) is int]
    spans = [(one["start"], one["end"], label) for one in good for label in one.get("labels", ())]
    return tuple(Span(*one) for one in spans if 0 <= one[0] < one[1] and isinstance(one[2], str))


def _warnings(said: Sequence[str]) -> Iterator[str]:
    return (sentence for sentence in said if not sentence.startswith(_PLAIN))


def _alarms(audit: Audit) -> Iterator[str]:
    yield from audit.doubts.by_reason
    yield from audit.set_aside
    yield from audit.suspicions


def outcome(valid: Look, path: Path, trial: Trial) -> tuple[str, str]:
    """What became of a corrupted file, and what shows it."""
    try:
        found = look(path, trial.one)
    except Exception:  # noqa: BLE001  # any exception is what is looked for
        return CRASH, traceback.format_exc()
    if found.error:
        return ERROR, found.error
    if new := found.said - valid.said:
        return REPORT, "; ".join(sorted(new))
    wrong = next((text for text in found.texts if not _has_its_gold(text, valid)), None)
    if wrong is None:
        more = found.unlabelled - valid.unlabelled
        return (REPORT, f"{more} more unlabelled texts") if more > 0 else (EQUAL, "")
    if _is_valid_of(found, path, trial):
        return OTHER_TRUTH, str(wrong)
    return SILENT, f"{wrong}\n  {_origin(wrong, valid)}"


def _has_its_gold(text: StoredText, valid: Look) -> bool:
    if text.spans is None:
        return True
    same = [one for one in valid.texts if one.text == text.text]
    if same:
        return any(one.spans is not None and set(one.spans) == set(text.spans) for one in same)
    origin = _origin(text, valid)
    return origin.spans is not None and _words(text) == _words(origin)


def _origin(text: StoredText, valid: Look) -> StoredText:
    """The text of the valid file that this one was: by its words."""
    return max(valid.texts, key=lambda one: difflib.SequenceMatcher(None, one.text, text.text, autojunk=False).ratio())


def _words(text: StoredText) -> Counter[tuple[str, str]]:
    words = (("".join(text.text[span.start : span.end].split()), span.label) for span in text.spans or ())
    return Counter(words)


def _is_valid_of(found: Look, path: Path, trial: Trial) -> bool:
    """Whether writing what was read gives the very file: it says this truth, and nothing in it is against it."""
    if any(_trimmed(drawn) != set(read.spans or ()) for drawn, read in zip(found.drawn, found.texts, strict=True)):
        return False
    drawn = list(map(_of_words, found.drawn)) if trial.one.file in _PLAIN_CONLL else found.drawn
    rows = list(trial.one.rows(drawn))  # type: ignore[arg-type]
    if trial.given:
        return rows == trial.given
    if path.is_dir():
        return False
    trial.one.write(trial.folder / "again" / trial.one.file, rows)
    again, given = (trial.folder / "again" / trial.one.file).read_bytes(), path.read_bytes()
    if trial.one.file == "four.conll":  # the two columns between the token and the tag say nothing here
        again, given = (re.sub(rb"(?m)^(\S+) .* (\S+)$", rb"\1 \2", content) for content in (again, given))
    return again == (_EMPTY_LINES.sub(b"\n\n", given).lstrip(b"\n") if trial.one.by_line else given)


def _of_words(text: StoredText) -> TaggedText:
    """The text with its words as tokens, however another program cut them; without spaces, its characters."""
    words = [match.span() for match in re.finditer("[^ ]+", text.text)]
    pieces = [tokens_of(text.text[a:b]) if is_unspaced(text.text[a:b]) else [(0, b - a)] for a, b in words]
    tokens = [(a + start, a + end) for (a, _), parts in zip(words, pieces, strict=True) for start, end in parts]
    return TaggedText(text, tokens, align(text.spans or (), tokens))


def _trimmed(text: StoredText) -> set[Span]:
    trimmed = [(*trim_whitespace(text.text, one.start, one.end), one.label) for one in text.spans or ()]
    return {Span(*one) for one in trimmed}


def corrupted(one: SampleFormat, number: int, seed: int, *, unspaced: bool = False) -> Iterator[Outcome]:
    """The outcomes of so many corruptions of files of a format, each kind in turn; the same for the same seed."""
    kinds = list(KINDS)
    done = 0
    while done < number and kinds:
        kind = kinds[done % len(kinds)]
        result = _tried(one, kind, Random(f"{seed} {one.name} {done}"), unspaced=unspaced)
        if result is None:
            kinds.remove(kind)  # it does not apply to this format
            continue
        done += 1
        yield result


def _tried(one: SampleFormat, kind: str, draw: Random, *, unspaced: bool) -> Outcome | None:
    for _ in range(_TRIES):
        texts, valid = _valid(one, draw.randrange(FILES), unspaced)
        with tempfile.TemporaryDirectory(prefix="mutate-") as name:
            folder = Path(name)
            (folder / "again").mkdir()
            trial = Trial(draw, one, list(texts), folder)
            path = KINDS[kind](trial)
            if path is not None:
                return Outcome(one.name, kind, *outcome(valid, path, trial))
    return None


@cache
def _valid(one: SampleFormat, number: int, unspaced: bool) -> tuple[tuple[StoredText, ...], Look]:
    """The texts of one of the valid files of a format, and what a dry run shows of it."""
    draw, make = Random(number), unspaced_text if unspaced else spaced_text
    drawn = (make(draw, f"doc-{place}") for place in range(TEXTS))
    texts = tuple(text for text in drawn if one.holds(text))
    with tempfile.TemporaryDirectory(prefix="valid-") as name:
        valid = look(one.save(Path(name), texts), one)
    if valid.error:
        raise SystemExit(f"a valid file of {one.name} was refused: {valid.error}")
    return texts, valid


@dataclass
class Shares:
    """How many of each outcome, by name of a row."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, row: str, result: str) -> None:
        self.counts.setdefault(row, Counter())[result] += 1

    def lines(self, title: str) -> Iterator[str]:
        yield f"| {title} | files | {' | '.join(OUTCOMES)} |"
        yield f"| --- {'| ---: ' * (len(OUTCOMES) + 1)}|"
        for row, counts in self.counts.items():
            cells = (f"{counts[name] / counts.total():.1%}" if counts[name] else "0" for name in OUTCOMES)
            yield f"| {row} | {counts.total():,} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=[one.name for one in FORMATS])
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--show", default="", help="an outcome: its first examples are shown for each format")
    parser.add_argument("--unspaced", action="store_true", help="texts of scripts without spaces")
    options = parser.parse_args()
    by_format, by_kind = Shares(), Shares()
    for one in FORMATS:
        if one.name not in options.formats:
            continue
        shown = 0
        for result in corrupted(one, options.mutations, options.seed, unspaced=options.unspaced):
            by_format.add(one.name, result.outcome)
            by_kind.add(result.kind, result.outcome)
            if result.outcome == options.show and shown < 5:
                shown += 1
                print(f"{one.name}, {result.kind}: {result.outcome}\n  {result.shown}\n", flush=True)
    print("\n".join([*by_format.lines("format"), "", *by_kind.lines("corruption")]))


if __name__ == "__main__":
    main()
