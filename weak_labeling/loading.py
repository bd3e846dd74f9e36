"""All sources of a project: its Python functions and its weak.toml. What is wrong with one leaves the others alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from ner.errors import InputError
from weak_labeling.functions import read_functions
from weak_labeling.source import SourceError, TextSource, WeakSource
from weak_labeling.sources.entry import EntryError, SourceContext, SourceEntry, SourceTools
from weak_labeling.sources.known import KINDS
from weak_labeling.weak_file import Block, read_weak_file


@dataclass(frozen=True)
class LoadedSources:
    """The sources in the order of their files, functions first, and why others were left out.

    definitions: what each label means, by label.
    """

    sources: tuple[WeakSource, ...] = ()
    problems: tuple[SourceError, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)


def load_sources(
    home: Path,
    *,
    functions: Path | None,
    weak_file: Path | None,
    labels: Sequence[str],
    definitions: Mapping[str, str] | None = None,
    tools: SourceTools | None = None,
) -> LoadedSources:
    """The sources of both files; None for a file that the project lacks.

    home: the folder that files named in weak.toml are relative to. labels: those of the label config. definitions: what
    the label config says of labels; weak.toml has the last word. tools: what sources that are models need. Each
    source has a name of its own: of two with one name, the first counts. Nothing is raised for what a file says.
    """
    problems: list[SourceError] = []
    loaded: dict[str, WeakSource] = {}
    if functions is not None:
        written = read_functions(functions)
        problems += written.problems
        loaded |= {function.name: function for function in written.functions}
    meanings = dict(definitions or {})
    if weak_file is not None:
        read = read_weak_file(weak_file)
        problems += read.problems
        meanings |= read.definitions
        problems += _unknown_labels(read.definition_lines, labels, weak_file)
        place = SourceContext(home, tuple(labels), meanings, tools or SourceTools())
        for block in read.blocks:
            try:
                source = _source(block, place, loaded)
            except InputError as error:
                key = error.key if isinstance(error, EntryError) else "file"
                problems.append(SourceError(error, weak_file, block.line_of(key), _name(block)))
            else:
                loaded[source.name] = source
    return LoadedSources(tuple(loaded.values()), tuple(problems), meanings)


def text_sources(folder: Path, labels: Sequence[str]) -> tuple[TextSource, ...]:
    """The sources that read a text by themselves, of the files in `folder` that examples have.

    Raises the first problem, if there is one.
    """
    functions, weak_file = folder / "labeling_functions.py", folder / "weak.toml"
    loaded = load_sources(
        folder,
        functions=functions if functions.exists() else None,
        weak_file=weak_file if weak_file.exists() else None,
        labels=labels,
    )
    if loaded.problems:
        raise loaded.problems[0]
    return tuple(cast(TextSource, source) for source in loaded.sources if callable(source))


def _source(block: Block, place: SourceContext, loaded: Mapping[str, WeakSource]) -> WeakSource:
    """Raises InputError for what is wrong with it."""
    entry = _entry(block)
    if entry.name in loaded:
        raise EntryError(
            "sources have distinct names; votes are stored by name",
            key="name",
            value=entry.name,
            next_step=f'Rename it: a source of kind "{loaded[entry.name].kind}" has this name.',
        )
    for key, label in entry.used_labels():
        place.check_label(label, key)
    return entry.build(place)


def _entry(block: Block) -> SourceEntry:
    kind = block.table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise EntryError(
            f"the `kind` of a source is one of {', '.join(KINDS)}",
            key="kind",
            value=kind if kind is not None else "none",
            next_step=_nearest(str(kind), KINDS),
        )
    try:
        return KINDS[kind].model_validate(_frozen(block.table))
    except ValidationError as error:
        raise next(_complaints(error, KINDS[kind], kind)) from None


def _complaints(error: ValidationError, entry: type[SourceEntry], kind: str) -> Iterator[EntryError]:
    # A misspelt key is unknown, and its right spelling is missing: the unknown key is what was written.
    for said in sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden"):
        key = str(said["loc"][0]) if said["loc"] else ""
        if said["type"] == "extra_forbidden":
            keys = ", ".join(entry.model_fields)
            yield EntryError(
                f'a source of kind "{kind}" has these keys: {keys}',
                key=key,
                value=key,
                next_step=_nearest(key, entry.model_fields) or "Remove the key.",
            )
        elif said["type"] == "missing":
            yield EntryError(f'a source of kind "{kind}" has a `{key}`', key=key, next_step=f"Add `{key} = ...`.")
        else:
            yield EntryError(_rule(key, said["msg"]), key=key, value=said["input"], next_step="Correct the value.")


def _rule(key: str, said: str) -> str:
    """What pydantic says of a key, as a rule."""
    for beginning, instead in _WORDS.items():
        if said.startswith(beginning):
            return f"`{key}` {instead}{said.removeprefix(beginning)}"
    return f"`{key}`: {said.removeprefix('Value error, ')}"


_WORDS = {
    "Input should be a valid tuple": "is an array",
    "Input should be a valid dictionary": "is a table",
    "Input should be a valid ": "is of the type ",
    "Input should be ": "is ",
    "String should have at least 1 character": "is not empty",
}


def _nearest(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean `{close[0]}`?" if close else ""


def _frozen(value: object) -> object:
    """Arrays as tuples, as the fields of an entry have them."""
    if isinstance(value, Mapping):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _unknown_labels(lines: Mapping[str, int], labels: Sequence[str], path: Path) -> Iterator[SourceError]:
    for label in lines.keys() - set(labels):
        rule = f"[definitions] is about labels of the label config: {', '.join(labels)}"
        yield SourceError(InputError(rule, value=label, next_step="Correct the label."), path, lines[label])


def _name(block: Block) -> str:
    name = block.table.get("name")
    return name if isinstance(name, str) else ""
