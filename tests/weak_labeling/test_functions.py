"""Labelling functions: found in their file, named, and with a digest that follows what they do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.functions import labeling_function, load_functions, read_functions

HEAD = """
import re
from ner.spans import Span
from weak_labeling.functions import labeling_function
from weak_labeling.gazetteers import Gazetteer
from weak_labeling.heuristics import near_keyword, regex
"""

USERS_FILE = (
    HEAD
    + r"""
PATTERN = re.compile(r"\d+")
LABEL = "VERSION"

def spans(text):
    return [Span(*m.span(), LABEL) for m in PATTERN.finditer(text)]

@labeling_function(name="numbers")
def numbers(text):
    return spans(text)

@labeling_function(name="silent")
def silent(text):
    return None

systems = labeling_function(name="systems")(Gazetteer(["Linux"], "OS"))
builds = labeling_function(name="builds")(near_keyword(regex(r"\d+", "VERSION"), ["build"]))
"""
)


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "labeling_functions.py"
    path.write_text(USERS_FILE, encoding="utf-8")
    return path


def digests(path: Path, *edits: tuple[str, str]) -> dict[str, str]:
    """Digest by name after the edits, each of which must apply."""
    source = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in source
        source = source.replace(old, new)
    path.write_text(source, encoding="utf-8")
    return {function.name: function.digest for function in load_functions(path)}


def changed(path: Path, *edits: tuple[str, str]) -> set[str]:
    """Names of the functions whose digest is another one after the edits."""
    before, after = digests(path), digests(path, *edits)
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_functions_are_found_in_the_order_of_the_file(users_file: Path) -> None:
    assert [function.name for function in load_functions(users_file)] == ["numbers", "silent", "systems", "builds"]


def test_a_function_answers_with_spans_or_abstains_with_none(users_file: Path) -> None:
    numbers, silent, *_ = load_functions(users_file)
    assert numbers("v 10") == [Span(2, 4, "VERSION")]
    assert silent("v 10") is None


def test_functions_in_a_list_are_found_and_one_found_twice_counts_once(users_file: Path) -> None:
    users_file.write_text(
        HEAD + 'several = [labeling_function(name=n)(regex(n, "A")) for n in "ab"]\nfirst = several[0]\n',
        encoding="utf-8",
    )
    assert [function.name for function in load_functions(users_file)] == ["a", "b"]


def test_loading_leaves_nothing_behind_among_the_modules(users_file: Path) -> None:
    before = set(sys.modules)
    load_functions(users_file)
    assert set(sys.modules) == before


def test_a_file_of_functions_may_define_dataclasses_and_read_files_beside_it(users_file: Path) -> None:
    (users_file.parent / "names.txt").write_text("Linux\n", encoding="utf-8")
    users_file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom pathlib import Path\n"
        + HEAD
        + "from weak_labeling.gazetteers import load_terms\n"
        + "@dataclass\nclass Note:\n    text: str\n"
        + 'names = labeling_function(name="names")(Gazetteer(load_terms(Path(__file__).parent / "names.txt"), "OS"))\n',
        encoding="utf-8",
    )
    (names,) = load_functions(users_file)
    assert list(names("on Linux") or ()) == [Span(3, 8, "OS")]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\n", "defines at least one"),
        ("def f(:\n", "line 1"),
        (
            "x = 1\n\nraise KeyError('gone')\n",
            "line 3: a file of labelling functions runs without an error: got KeyError: 'gone'",
        ),
        ("import no_such_module_here\n", "ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("x = 1\0\n", "functions.py: a file of labelling functions runs without an error"),
        ("x = 1\n" + HEAD + "a = labeling_function(name=' ')(len)\n", "line 8: a labelling function has a name"),
        (HEAD + "a = labeling_function(name=5)(len)\n", "has a name"),
        (HEAD + "a = labeling_function(name='\\ud800')(len)\n", "has a name"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place_and_the_reason(
    source: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "functions.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        load_functions(path)
    assert says in str(refusal.value)
    assert str(path) in str(refusal.value)


REPEATED = (
    HEAD
    + """
@labeling_function(name="one")
def first(text):
    return None

two = labeling_function(name="two")(regex("a", "A"))
again = labeling_function(name="two")(regex("b", "A"))

@labeling_function(
    name="one",
)
def second(text):
    return None

@labeling_function(name="three")
def third(text):
    return None
"""
)


def test_of_two_functions_with_one_name_the_later_is_told_by_its_line_and_the_others_go_on(users_file: Path) -> None:
    users_file.write_text(REPEATED, encoding="utf-8")
    read = read_functions(users_file)
    assert [function.name for function in read.functions] == ["one", "two", "three"]
    assert read.functions[0].find.__name__ == "first"  # type: ignore[attr-defined]
    lines = REPEATED.splitlines()
    told = {problem.name: problem for problem in read.problems}
    assert lines[told["two"].line - 1].startswith("again = ")
    assert lines[told["one"].line].strip() == 'name="one",'
    assert str(told["one"]).startswith(f"{users_file}, line {told['one'].line}: sources have distinct names")
    assert "Rename it" in str(told["one"])
    with pytest.raises(InputError, match="sources have distinct names"):
        load_functions(users_file)


def test_a_function_whose_python_name_is_used_again_is_told_and_the_others_go_on(users_file: Path) -> None:
    lost = "\n@labeling_function(name='lost')\ndef third(text):\n    return None\n"
    users_file.write_text(HEAD + lost + REPEATED.removeprefix(HEAD), encoding="utf-8")
    read = read_functions(users_file)
    assert [function.name for function in read.functions] == ["three", "one", "two"]
    lines = users_file.read_text(encoding="utf-8").splitlines()
    (problem,) = (one for one in read.problems if one.name == "lost")
    assert lines[problem.line - 1] == "def third(text):"
    assert "distinct Python names" in str(problem)


def test_a_file_with_a_byte_order_mark_is_read(users_file: Path) -> None:
    users_file.write_bytes(b"\xef\xbb\xbf" + users_file.read_bytes())
    assert len(load_functions(users_file)) == 4


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="functions can be read: got No such file"):
        load_functions(tmp_path / "nowhere.py")
    (tmp_path / "binary.py").write_bytes(b"# one\n# \xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.py, line 2: a file of labelling functions can be read as UTF-8"):
        load_functions(tmp_path / "binary.py")


def test_loading_the_same_file_twice_gives_the_same_digests(users_file: Path) -> None:
    assert changed(users_file) == set()
    assert len(set(digests(users_file).values())) == 4


def test_an_edit_elsewhere_in_the_file_changes_no_digest(users_file: Path) -> None:
    assert changed(users_file, ("import re\n", "import re\n\nUNUSED = 1\n")) == set()


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (("return None", "return []"), {"silent"}),
        ((r'PATTERN = re.compile(r"\d+")', r'PATTERN = re.compile(r"\d")'), {"numbers"}),
        (('LABEL = "VERSION"', 'LABEL = "ERROR"'), {"numbers"}),
        (("Span(*m.span(), LABEL) for", "Span(m.start(), m.end(), LABEL) for"), {"numbers"}),
        (('["Linux"]', '["Linux", "AIX"]'), {"systems"}),
        (('Gazetteer(["Linux"], "OS")', 'Gazetteer(["Linux"], "OS", case="exact")'), {"systems"}),
        (('["build"]', '["release"]'), {"builds"}),
        (('regex(r"\\d+", "VERSION")', 'regex(r"\\d+", "VERSION", flags=re.ASCII)'), {"builds"}),
        (('name="silent"', 'name="quiet"'), {"silent", "quiet"}),
    ],
    ids=["body", "pattern", "constant", "helper", "list", "case", "keyword", "flags", "name"],
)
def test_the_digest_follows_the_source_and_what_it_names(
    edit: tuple[str, str], names: set[str], users_file: Path
) -> None:
    assert changed(users_file, edit) == names


def test_the_digest_follows_what_a_function_closes_over(users_file: Path) -> None:
    factory = "def made(n):\n    def find(text):\n        return [Span(0, n, 'A')]\n    return find\n"
    users_file.write_text(HEAD + factory + 'a = labeling_function(name="a")(made(1))\n', encoding="utf-8")
    assert changed(users_file, ("made(1)", "made(2)")) == {"a"}


def test_functions_that_name_each_other_still_have_a_digest(users_file: Path) -> None:
    users_file.write_text(
        HEAD
        + "@labeling_function(name='a')\ndef a(text):\n    return b(text) if text else ()\n"
        + "@labeling_function(name='b')\ndef b(text):\n    return a(text[1:])\n",
        encoding="utf-8",
    )
    assert set(digests(users_file)) == {"a", "b"}
    assert changed(users_file, ("text[1:]", "text[2:]")) == {"a", "b"}


def test_the_digest_is_that_of_the_file_as_it_was_run(users_file: Path) -> None:
    before = list(digests(users_file).values())
    functions = load_functions(users_file)
    users_file.write_text("raise ValueError\n", encoding="utf-8")
    assert [function.digest for function in functions] == before


def test_a_function_whose_source_cannot_be_read_is_refused_by_name() -> None:
    made: dict[str, object] = {}
    exec("def find(text):\n    return None\n", made)
    function = labeling_function(name="made")(made["find"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="find"):
        _ = function.digest
