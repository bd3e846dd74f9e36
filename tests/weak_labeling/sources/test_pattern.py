"""Kind "pattern": the group, the context, the time limits."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.sources.context import Context
from weak_labeling.sources.entry import EntryError, SourceContext
from weak_labeling.sources.pattern import PatternEntry, PatternSource

PLACE = SourceContext(Path(), ())


def source(pattern: str, **keys: object) -> PatternSource:
    entry = PatternEntry.model_validate({"name": "it", "kind": "pattern", "label": "A", "pattern": pattern, **keys})
    return entry.build(PLACE)


def found(text: str, pattern: str, **keys: object) -> list[str]:
    return [text[span.start : span.end] for span in source(pattern, **keys)(text)]


def test_a_pattern_votes_for_each_match_with_offsets_in_code_points() -> None:
    assert list(source(r"\bG\.O\. ?\d+")("👩‍💻 G.O. 95, G.O.128")) == [Span(4, 11, "A"), Span(13, 20, "A")]


@pytest.mark.parametrize("group", [1, "number"])
def test_a_group_is_voted_for_in_place_of_the_match_and_an_unset_group_abstains(group: int | str) -> None:
    assert found("code 12, code", r"code(?: (?P<number>\d+))?", group=group) == ["12"]


def test_flags_have_names() -> None:
    assert found("CODE 12", "code (\\d+) # comment", group=1, flags=("ignorecase",)) == []
    assert found("CODE 12", "code[ ](\\d+) # comment", group=1, flags=("ignorecase", "verbose")) == ["12"]


def test_before_and_after_stand_right_beside_the_span() -> None:
    keys = {"before": r"\berrors?|codes?", "after": r"was|were"}
    assert found("error 12 was", r"\d+", **keys) == ["12"]
    assert found("error in 12 was", r"\d+", **keys) == []
    assert found("codes\n12  were", r"\d+", **keys) == ["12"]
    assert found("error 12 is", r"\d+", **keys) == []


def test_a_near_word_is_counted_in_words_on_either_side() -> None:
    keys = {"near": ("Knots",), "words_before": 1, "words_after": 2}
    assert found("KNOTS 12", r"\d+", **keys) == ["12"]
    assert found("knots: about 12", r"\d+", **keys) == []
    assert found("12 or more knots", r"\d+", **keys) == []
    assert found("12 or knots", r"\d+", **keys) == ["12"]


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns have less time."""
    monkeypatch.setattr("weak_labeling.sources.expressions._SECONDS_A_TRIAL", 0.05)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("pattern", [r"(a+)+b", r"(\w+\s?)*$(?<=!)", r"(.*)(.*)(.*)(.*)[xy]", r"(Q|Q)+R"])
def test_a_pattern_that_backtracks_without_end_is_refused_when_it_is_loaded(pattern: str) -> None:
    with pytest.raises(EntryError, match="bound them") as refusal:
        source(pattern)
    assert refusal.value.key == "pattern"


@pytest.mark.usefixtures("hurry")
def test_context_that_backtracks_is_refused_by_its_own_key() -> None:
    with pytest.raises(EntryError) as refusal:
        source("x", after=r"(a+)+b")
    assert refusal.value.key == "after"


@pytest.mark.parametrize(
    "pattern",
    [
        "(((a{1000}){1000}){1000})",
        "a{99999999999}",
        f"a{{{'9' * 5000}}}",
        "(?:[)]{1000}){1000}",
        r"(?:\(b{2000,}c){50,60}",
        "(?x) ((a{400}) # (\n {400})",
    ],
    ids=[
        "nested",
        "one count",
        "a number beyond all numbers",
        "a bracket in a class",
        "an escaped bracket",
        "a bracket in a comment",
    ],
)
def test_repeats_that_multiply_are_refused_before_they_fill_the_memory(pattern: str) -> None:
    with pytest.raises(EntryError, match="100,000 parts") as refusal:
        source(pattern)
    assert refusal.value.key == "pattern"


@pytest.mark.parametrize(
    "pattern",
    [r"\d{4}-\d{2}-\d{2}(?:T\d{2}(?::\d{2}){2})?", "((a{0,1000}){0,1000}){1,1000}", "|".join(["[A-Z]{20}x"] * 99)],
    ids=["a date", "nothing has to match", "counts beside each other"],
)
def test_repeats_that_stay_small_are_taken(pattern: str) -> None:
    assert source(pattern).pattern == pattern


def test_a_pattern_that_takes_too_long_on_a_text_says_so_and_the_next_text_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("weak_labeling.sources.pattern.SECONDS_A_TEXT", 0.02)
    slow = PatternSource("it", "A", r"(?:ab|a|b)+c|x")
    with pytest.raises(InputError, match="reads a text within"):
        list(slow("ab" * 400))
    assert list(slow("x")) == [Span(0, 1, "A")]


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"pattern": "(a"}, "pattern"),
        ({"pattern": "a", "group": 1}, "group"),
        ({"pattern": "a", "group": "name"}, "group"),
        ({"pattern": "a", "near": ("two words",)}, "near"),
        ({"pattern": "a", "before": "("}, "before"),
        ({"pattern": "(?V0)(?V1)a"}, "pattern"),
        ({"pattern": "a", "before": "(?x) b # c"}, "before"),
    ],
    ids=[
        "no expression",
        "no such group",
        "no such name",
        "near is a phrase",
        "before is no expression",
        "flags exclude each other",
        "a comment without an end",
    ],
)
def test_what_is_wrong_is_told_by_its_key(keys: dict[str, object], key: str) -> None:
    with pytest.raises(EntryError) as refusal:
        source(**keys)  # type: ignore[arg-type]
    assert refusal.value.key == key


def test_the_digest_follows_every_key_and_survives_another_process() -> None:
    sources = [
        source("a"),
        source("b"),
        source("a", flags=("ignorecase",)),
        source("(a)", group=1),
        source("a", near=("b",)),
        source("a", near=("b",), words_after=9),
    ]
    assert len({one.digest for one in sources}) == len(sources)
    again = pickle.loads(pickle.dumps(sources[-1]))
    assert (again, again.digest) == (sources[-1], sources[-1].digest)
    assert not Context() and Context(near=("b",))
