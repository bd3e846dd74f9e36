"""Accepted suggestions go into the project's weak.toml. What stands there stays, with its comments.

Terms of a label are lines of one gazetteer that suggestions have made; each pattern is a source of its own.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from loop.settings.settings import Settings
from loop.settings.whole_files import write_whole
from ner.errors import InputError
from store.database.schema import Project
from store.database.session import Store
from store.weak.sources import weak_sources
from weak_labeling.loading import LoadedSources, load_sources
from weak_labeling.suggesting.drafts import Draft, TermDraft
from weak_labeling.suggesting.ranking import Suggestion

_HEADER = re.compile(r"(?m)^[ \t]*\[(?:\[\s*source\s*\]|\s*definitions\s*)\].*$")


@dataclass(frozen=True)
class AcceptedEntry:
    """A suggestion that stands in weak.toml now, in the source of this name."""

    number: int
    source: str
    keys: Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Accepted:
    """What was written, and into which file."""

    file: Path
    entries: tuple[AcceptedEntry, ...]


def accept(
    store: Store, settings: Settings, project: Project, found: Sequence[Suggestion], numbers: Sequence[int]
) -> Accepted:
    """Write the suggestions of these numbers into weak.toml, which is made where it is missing.

    All of them are written or none. Raises InputError for a number that no suggestion has, a weak.toml that is no TOML,
    and a source that could not be loaded from the new file.
    """
    by_number = {one.number: one for one in found}
    for number in numbers:
        if number not in by_number:
            raise InputError(
                "a suggestion is accepted by the number beside it",
                value=number,
                next_step="`loop weak suggest --json` shows every suggestion that the gold speaks for now.",
            )
    path = (settings.home / settings.weak.file).resolve()
    before = _loaded(settings, project, settings.weak_file)
    with store.read() as session:
        known = weak_sources(session, project.id)
    names = {one.name for one in (*known, *before.sources)}
    old = _text_of(path)
    file = _WeakToml(old, names, {one.name for one in known if one.muted_at is not None})
    chosen = [by_number[number] for number in dict.fromkeys(numbers)]
    entries = tuple(AcceptedEntry(one.number, file.add(one), one.draft.keys()) for one in chosen)
    _check(settings, project, file.text, before, {one.source for one in entries})
    write_whole(path, _with_line_ends_of(old, file.text))
    return Accepted(path, entries)


def _with_line_ends_of(old: str, new: str) -> str:
    return new.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in old else new


def _text_of(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the file of sources can be read as UTF-8", value=f"{path}: {error}") from error
    _require_toml(text, path.name)
    return text


def _require_toml(text: str, name: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            "a suggestion is written into a file that is TOML, and stays so",
            value=f"{name}: {error}",
            next_step="Nothing was written. Mend the file, with each source under a header [[source]] of its own.",
        ) from error


@dataclass
class _WeakToml:
    """The text of the file as it grows. names: taken by sources. muted: names of sources whose votes do not count."""

    text: str
    names: Collection[str]
    muted: Collection[str]

    def add(self, one: Suggestion) -> str:
        """Write the suggestion; gives the name of its source."""
        for name in _names(one.draft, one.number):
            if isinstance(one.draft, TermDraft) and name not in self.muted and self._extends(name, one.draft):
                return name
            if name not in self.names and not self._has(name):
                self._append(name, one)
                return name
        raise AssertionError("names do not run out")

    def _has(self, name: str) -> bool:
        sources = tomlkit.parse(self.text).get("source", [])
        return isinstance(sources, list) and any(isinstance(one, Table) and one.get("name") == name for one in sources)

    def _extends(self, name: str, draft: TermDraft) -> bool:
        """Whether the file has this gazetteer, by the rules of the draft; then the term is a line of it.

        Each table is read by itself: tomlkit would bring the tables of the whole file into another order.
        """
        starts = [match.start() for match in _HEADER.finditer(self.text)]
        for start, end in pairwise([*starts, len(self.text)]):
            part = _parsed(self.text[start:end])
            for table in part.get("source", []):
                if table.get("name") == name and _rules(table.unwrap()) == _rules(draft.keys()):
                    table["terms"].append(draft.term)
                    self.text = self.text[:start] + tomlkit.dumps(part) + self.text[end:]
                    return True
        return False

    def _append(self, name: str, one: Suggestion) -> None:
        before = f"{self.text.rstrip()}\n\n" if self.text.strip() else ""
        keys = {"name": name, **one.draft.keys()}
        lines = "".join(f"{key} = {_written(value)}\n" for key, value in keys.items())
        self.text = f"{before}{_why(one)}\n[[source]]\n{lines}"


def _parsed(part: str) -> TOMLDocument:
    """A table; empty where a header of a table stood in something else."""
    try:
        return tomlkit.parse(part)
    except TOMLKitError:
        return tomlkit.document()


def _rules(keys: Mapping[str, object]) -> dict[str, object]:
    """What must be equal in two gazetteers that can be one: all but the name, and that the terms stand in a list."""
    rules = {key: value for key, value in keys.items() if key not in ("name", "terms")}
    return {**rules, "terms": isinstance(keys.get("terms"), list | tuple)}


def _why(one: Suggestion) -> str:
    if isinstance(one.draft, TermDraft):
        return "# Terms of labelled spans."
    found = f"{one.evidence.spans} labelled spans in {one.evidence.documents} documents"
    return f"# From {found}; at least {one.evidence.low:.0%} of what it adds was right."


def _names(draft: Draft, number: int) -> Iterator[str]:
    """The names that its source may have, in order of preference."""
    label = re.sub(r"\W+", "_", draft.label.casefold()).strip("_") or "label"
    if isinstance(draft, TermDraft):
        name = f"suggested_{label}" if draft.case == "smart" else f"suggested_{label}_as_written"
    else:
        name = f"suggested_{label}_{number}"
    yield name
    yield from (f"{name}_{again}" for again in count(2))


def _written(value: str | Sequence[str]) -> str:
    """As TOML. A pattern stands between single quotes where it can; a list has one term a line."""
    if isinstance(value, str):
        return tomlkit.string(value, literal="\\" in value and "'" not in value).as_string()
    terms = tomlkit.array()
    terms.extend(value)
    return terms.multiline(True).as_string()


def _loaded(settings: Settings, project: Project, weak_file: Path | None) -> LoadedSources:
    return load_sources(settings.home, functions=settings.weak_functions, weak_file=weak_file, labels=project.labels)


def _check(settings: Settings, project: Project, text: str, before: LoadedSources, names: Collection[str]) -> None:
    """Raise InputError where the file would have a problem that it had not before, or lack one of the sources."""
    _require_toml(text, settings.weak.file)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "weak.toml"
        draft.write_text(text, encoding="utf-8")
        after = _loaded(settings, project, draft)
    old = {(problem.name, problem.rule) for problem in before.problems}
    new = [problem.rule for problem in after.problems if (problem.name, problem.rule) not in old]
    missing = sorted(set(names) - {one.name for one in after.sources})
    if new or missing:
        raise InputError(
            f"{settings.weak.file} with the suggestion can be loaded",
            value="; ".join([*new, *missing]),
            next_step="Nothing was written. Mend the file, or add the entry by hand.",
        )
