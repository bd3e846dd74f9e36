"""Loading all sources: what is wrong with one names file and line, and the others are loaded."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from weak_labeling.loading import LoadedSources, load_sources
from weak_labeling.sources.entry import SourceEntry
from weak_labeling.sources.known import KINDS

LABELS = ("STANDARD", "VESSEL")
FUNCTIONS = """from ner.spans import Span
from weak_labeling.functions import labeling_function


@labeling_function(name="first")
def first(text):
    yield Span(0, 1, "VESSEL")
"""
GOOD = """
[[source]]
name = "last"
kind = "pattern"
label = "STANDARD"
pattern = '\\d+'
"""


def load(home: Path, weak: str = GOOD, functions: str | None = None) -> LoadedSources:
    (home / "weak.toml").write_text(weak, encoding="utf-8", errors="surrogateescape")
    if functions is not None:
        (home / "functions.py").write_text(functions, encoding="utf-8")
    path = home / "functions.py" if functions is not None else None
    hints = {"VESSEL": "a ship"}
    return load_sources(home, functions=path, weak_file=home / "weak.toml", labels=LABELS, definitions=hints)


def test_functions_and_declared_sources_are_loaded_in_order_and_reach_another_process(tmp_path: Path) -> None:
    weak = f'{GOOD}\n[[source]]\nname = "beside"\nkind = "neighbours"\n\n[definitions]\nSTANDARD = "a rule"\n'
    loaded = load(tmp_path, weak, FUNCTIONS)
    assert not loaded.problems
    assert [(source.name, source.kind) for source in loaded.sources] == [
        ("first", "function"),
        ("last", "pattern"),
        ("beside", "neighbours"),
    ]
    assert loaded.definitions == {"VESSEL": "a ship", "STANDARD": "a rule"}
    again = [pickle.loads(pickle.dumps(source)).digest for source in loaded.sources[1:]]
    assert again == [source.digest for source in loaded.sources[1:]]


def test_a_project_without_files_has_no_sources(tmp_path: Path) -> None:
    assert load_sources(tmp_path, functions=None, weak_file=None, labels=LABELS) == LoadedSources()


def test_the_digest_of_a_source_is_the_same_wherever_it_stands_in_the_file(tmp_path: Path) -> None:
    alone = load(tmp_path).sources[0].digest
    other = GOOD.replace("last", "other").replace("d+", "w+")
    assert [source.digest for source in load(tmp_path, other + GOOD).sources][1] == alone


# what stands before the good source, the line that is told, and words of the rule and of the mend
WRONG = {
    "a bad pattern": ("[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'\npattern = '(a'", 5, "Mend it"),
    "backtracking": (
        "[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'\npattern = '(a+)+b'",
        5,
        "or bound them",
    ),
    "a label outside": (
        "[[source]]\nname = 'x'\nlabel = 'SHIP'\nkind = 'pattern'\npattern = 'a'",
        3,
        "the label config",
    ),
    "a label of neighbours": ("[[source]]\nname = 'x'\nkind = 'neighbours'\nlabels = ['SHIP']", 4, "the label config"),
    "a missing file": ("[[source]]\nname = 'x'\nkind = 'gazetteer'\nlabel = 'VESSEL'\nfile = 'no.txt'", 5, "no.txt"),
    "an unknown key": (
        "[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'\npatern = 'a'\npattern = 'a'",
        5,
        "Did you mean `pattern`",
    ),
    "a misspelt key that a source must have": (
        "[[source]]\nname = 'x'\nkind = 'pattern'\nlable = 'VESSEL'\npattern = 'a'",
        4,
        "got lable. Did you mean `label`?",
    ),
    "a missing key": ("\n[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'", 2, "Add `pattern"),
    "an unknown kind": ("[[source]]\nname = 'x'\nkind = 'patern'", 3, "Did you mean `pattern`"),
    "no kind": ("[[source]]\nname = 'x'", 1, "one of pattern"),
    "a wrong type": (
        "[[source]]\nname = 'x'\nkind = 'neighbours'\nvotes = 'two'",
        4,
        "`votes` is of the type integer: got two",
    ),
    "an empty pattern": (
        "[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'\npattern = ''",
        5,
        "not empty: got ''",
    ),
    "a word for a list": ("[[source]]\nname = 'x'\nkind = 'neighbours'\nlabels = 'VESSEL'", 4, "is an array"),
    "a nested pattern": (
        f"[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'\npattern = '{'(' * 5000}{')' * 5000}'",
        5,
        "Mend it",
    ),
    "a long pattern": (
        f"[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'\npattern = '{'a' * 20_001}'",
        5,
        "at most 20,000 characters",
    ),
    "counts that multiply": (
        "[[source]]\nname = 'x'\nkind = 'pattern'\nlabel = 'VESSEL'\npattern = '(((a{1000}){1000}){1000})'",
        5,
        "Take smaller counts",
    ),
    "a delimiter of two characters": (
        "[[source]]\nname = 'x'\nkind = 'gazetteer'\nlabel = 'VESSEL'\nfile = 'x.csv'\ndelimiter = '::'",
        6,
        "is one character",
    ),
    "a device": (
        "[[source]]\nname = 'x'\nkind = 'gazetteer'\nlabel = 'VESSEL'\nfile = '/dev/tty'",
        5,
        "no plain file",
    ),
    "a long path": (
        f"[[source]]\nname = 'x'\nkind = 'transformers'\nfolder = '{'x' * 5000}'",
        4,
        "Correct the path",
    ),
    "a blank name": ("[[source]]\nname = ' '\nkind = 'neighbours'", 2, "not blank"),
    "no TOML": ('[[source]]\nname = "x"\nkind = "pattern"\npattern = "\\d"', 4, "single quotes"),
    "a zero byte": ("[[source]]\nname = 'x'\n# \0", 3, "Save the file as UTF-8"),
    "another encoding": ("[[source]]\n# Malm\udcf6", 2, "Save the file as UTF-8"),
    "a key twice": ("[[source]]\nname = 'x'\nname = 'y'\n", 3, "is TOML: got Cannot overwrite a value. Mend"),
    "a number of thousands of digits": (f"[[source]]\n\nvotes = {'9' * 5000}", 3, "is TOML"),
    "nested arrays": (f"[[source]]\n\nname = {'[' * 5000}", 3, "is TOML"),
    "an unknown table": ("[sources]\nname = 'x'", 1, "[[source]]"),
    "definitions of another label": ("[definitions]\nSHIP = 'x'", 2, "Correct the label"),
    "definitions that are no text": ("[definitions]\nVESSEL = 1", 1, "in words"),
}


@pytest.mark.parametrize(("before", "line", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_file_and_line_and_the_other_sources_are_loaded(
    before: str, line: int, told: str, tmp_path: Path
) -> None:
    loaded = load(tmp_path, before + GOOD, FUNCTIONS)
    assert [source.name for source in loaded.sources] == ["first", "last"]
    (problem,) = loaded.problems
    assert (problem.file, problem.line) == (tmp_path / "weak.toml", line)
    assert str(problem).startswith(f"{tmp_path / 'weak.toml'}, line {line}: ")
    assert told in str(problem)


def test_of_two_sources_with_one_name_the_first_counts(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD + GOOD + GOOD.replace("last", "first"), FUNCTIONS)
    assert [(source.name, source.kind) for source in loaded.sources] == [("first", "function"), ("last", "pattern")]
    assert [(problem.name, problem.line) for problem in loaded.problems] == [("last", 9), ("first", 15)]


@pytest.mark.parametrize("weak", ["", "# nothing\n", "source = []\n"], ids=["empty", "a comment", "an empty list"])
def test_a_file_without_a_source_is_a_problem_so_that_no_votes_are_taken_for_gone(weak: str, tmp_path: Path) -> None:
    (problem,) = load(tmp_path, weak, FUNCTIONS).problems
    assert "declares at least one" in str(problem) and "remove the file" in str(problem)
    assert load(tmp_path, '[definitions]\nVESSEL = "a ship"\n', FUNCTIONS).problems == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_file_in_utf_16_is_told_to_be_no_utf_8(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "weak.toml").write_text(GOOD.strip(), encoding=encoding)
    path = tmp_path / "weak.toml"
    (problem,) = load_sources(tmp_path, functions=None, weak_file=path, labels=LABELS).problems
    assert (problem.line, "UTF-16" in str(problem)) == (1, True)


def test_a_line_separator_in_a_string_is_no_end_of_a_line(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD.replace("\\d+", "a\u2028b") + GOOD)
    assert [source.name for source in loaded.sources] == ["last"]
    assert [problem.line for problem in loaded.problems] == [9]


def test_functions_that_do_not_run_leave_the_declared_sources_and_the_other_way_round(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD, "1 / 0\n")
    assert [source.name for source in loaded.sources] == ["last"]
    assert "functions.py, line 1" in str(loaded.problems[0])
    missing = load_sources(tmp_path, functions=None, weak_file=tmp_path / "gone.toml", labels=LABELS)
    assert not missing.sources and "gone.toml" in str(missing.problems[0])
    (tmp_path / "weak.toml").write_bytes(b"\xff\xfe")
    assert "UTF-8" in str(
        load_sources(tmp_path, functions=None, weak_file=tmp_path / "weak.toml", labels=()).problems[0]
    )


def test_a_line_in_a_string_that_looks_like_a_table_is_none(tmp_path: Path) -> None:
    verbose = (
        "[[source]]\nname='x'\nkind='pattern'\nlabel='VESSEL'\nflags=['verbose']\npattern='''\n[abc]\n[def]\n'''\n"
    )
    assert [source.name for source in load(tmp_path, verbose + GOOD).sources] == ["x", "last"]
    broken = load(tmp_path, verbose + '[[source]]\npattern = "\\d"\n' + GOOD)
    assert [source.name for source in broken.sources] == ["x", "last"]
    assert [problem.line for problem in broken.problems] == [11]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_an_entry_whose_docstring_explains_its_keys(kind: str) -> None:
    assert issubclass(KINDS[kind], SourceEntry) and KINDS[kind].__doc__
