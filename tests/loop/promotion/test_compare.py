"""`loop compare`: the decision on any two systems' files, what it refuses, and what it says of what it leaves out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loop.cli.app import run
from loop.evaluation.scores import Counts
from loop.promotion.compare import compare_files, grouped
from loop.promotion.compared_files import read_sides
from loop.promotion.policies import CANNOT_TELL, LIKELY_BETTER, NOT_SHOWN_WORSE, PROMOTE, REJECT
from ner.errors import InputError
from tests.loop.desk import Said

SOFTWARE = {"start": 0, "end": 5, "label": "SOFTWARE"}
OS = {"start": 9, "end": 16, "label": "OS"}
TEXT = "Excel on Windows"
NOWHERE: list[Any] = []
PROVEN = ("--policy", "proven")

Record = dict[str, Any]


@dataclass
class Bench:
    """Three files in a folder that is no project."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, name: str, records: Iterable[Record | str]) -> Path:
        path = self.folder / f"{name}.jsonl"
        lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path

    def compare(self, a: Iterable[Record | str], b: Iterable[Record | str], gold: Iterable[Record | str], *words: str):
        """`loop compare a.jsonl b.jsonl --gold gold.jsonl WORDS...`."""
        paths = [self.write(name, records) for name, records in (("a", a), ("b", b), ("gold", gold))]
        code = run(["compare", str(paths[0]), str(paths[1]), "--gold", str(paths[2]), *words])
        captured = self.capsys.readouterr()
        return Said(code, captured.out, captured.err)


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOOP_HOME", raising=False)
    return Bench(tmp_path, capsys)


def records(count: int, spans: list[Any], right: int | None = None, **more: Any) -> list[Record]:
    """So many records, of which the first `right` (all by default) have these spans and the others none."""
    found = count if right is None else right
    return [{"id": f"t{n}", "spans": spans if n < found else [], **more} for n in range(count)]


def test_a_record_that_skip_bad_leaves_out_is_named(bench: Bench):
    sides = [[*records(3, [SOFTWARE]), *more] for more in ([], [], ["nonsense"])]
    said = bench.compare(*sides, "--skip-bad", "--json")
    (note,) = [note for note in said.json["notes"] if note.startswith("Left out")]
    assert "gold.jsonl, line 4: a record is well-formed JSON" in note


# The decision


def test_a_clearly_better_system_is_promoted(bench: Bench):
    gold = records(300, [SOFTWARE, OS], text=TEXT)
    said = bench.compare(records(300, [SOFTWARE, OS]), records(300, [SOFTWARE, OS], right=270), gold, "--json")
    assert said.code == 0
    answer = said.json
    assert answer["f1"] == {"a": 1.0, "b": pytest.approx(2 * 0.9 / 1.9)}
    assert answer["delta"] == pytest.approx(1 - 2 * 0.9 / 1.9)
    assert answer["interval"][0] < answer["delta"] < answer["interval"][1]
    assert answer["p_value"] == 1 / 10_001  # no other arrangement of 30 documents is as good
    assert (answer["alpha"], answer["decision"]) == (0.05, PROMOTE)
    assert (answer["documents"], answer["records"], answer["support"]) == (300, 300, 600)
    assert answer["permutations"] == 10_000
    assert set(answer["types"]) == {"OS", "SOFTWARE"}
    for row in answer["types"].values():
        assert row.keys() >= {"f1", "delta", "interval", "p_value", "alpha", "decision", "gate", "support"}
        assert row["gate"]["status"] == "pass"
    assert answer["notes"] == []


def test_an_equal_system_is_not_proven_better(bench: Bench):
    both = records(50, [SOFTWARE], right=40)
    said = bench.compare(both, both, records(50, [SOFTWARE]), *PROVEN, "--json")
    assert said.code == 8
    assert (said.json["decision"], said.json["p_value"], said.json["delta"]) == (REJECT, 1.0, 0.0)


def test_the_worse_system_in_the_candidates_place_is_not_promoted(bench: Bench):
    gold = records(300, [SOFTWARE])
    assert bench.compare(records(300, [SOFTWARE], right=270), gold, gold).code == 8


def test_a_system_that_loses_a_type_is_stopped_by_that_type(bench: Bench):
    gold = records(400, [SOFTWARE, SOFTWARE | {"start": 6, "end": 8}, OS])
    a = [{**record, "spans": record["spans"][:2] if n < 80 else record["spans"]} for n, record in enumerate(gold)]
    b = [{**record, "spans": record["spans"][2:] if n < 160 else record["spans"]} for n, record in enumerate(gold)]
    said = bench.compare(a, b, gold, "--json")
    assert said.code == 8
    assert said.json["p_value"] < 0.05
    assert {name: row["gate"]["status"] for name, row in said.json["types"].items()} == {
        "OS": "fail",
        "SOFTWARE": "pass",
    }
    assert said.json["gate"]["status"] == "pass"


def test_too_little_gold_of_a_type_is_told_and_is_no_pass(bench: Bench):
    gold = [*records(300, [SOFTWARE]), {"id": "rare", "spans": [OS]}]
    b = [*records(300, [SOFTWARE], right=200), {"id": "rare", "spans": [OS]}]
    said = bench.compare(gold, b, gold, *PROVEN, "--json")
    assert said.code == 0
    assert said.json["types"]["OS"]["gate"]["status"] == "insufficient"
    assert {name: row["decision"] for name, row in said.json["types"].items()} == {
        "OS": "insufficient",
        "SOFTWARE": "pass",
    }
    told = " ".join(bench.compare(gold, b, gold, *PROVEN).out.split())
    assert "A is better than B:" in told
    assert "Too little gold to tell of OS: a risk, and no pass." in told
    assert "◇ insufficient OS is not worse: the bound is met" in told


def test_a_smaller_alpha_takes_more_arrangements_and_may_change_the_decision(bench: Bench):
    a, b, gold = records(8, [SOFTWARE]), records(8, [SOFTWARE], right=2), records(8, [SOFTWARE])
    loose, strict = (bench.compare(a, b, gold, "--json", "--alpha", alpha).json for alpha in ("0.05", "0.001"))
    assert loose["p_value"] == pytest.approx(1 / 64, abs=0.006)
    assert (loose["permutations"], strict["permutations"]) == (10_000, 20_000)
    assert (loose["gate"]["status"], strict["gate"]["status"]) == ("pass", "fail")


def test_the_same_files_give_the_same_answer_and_another_seed_another_sample(bench: Bench):
    files = records(30, [SOFTWARE], right=25), records(30, [SOFTWARE], right=20), records(30, [SOFTWARE])
    once, again, other = (bench.compare(*files, "--json", "--seed", seed).out for seed in ("1", "1", "2"))
    assert once == again
    assert once != other


# Policies


def test_by_default_an_equal_system_is_promoted_where_a_wrong_decision_is_cheap(bench: Bench):
    both = records(50, [SOFTWARE], right=40)
    said = bench.compare(both, both, records(50, [SOFTWARE]), "--json")
    answer = said.json
    assert (said.code, answer["policy"], answer["decision"], answer["word"]) == (
        0,
        "bounded",
        "promote",
        NOT_SHOWN_WORSE,
    )
    # 0.17 standard errors of one entity won and one lost are less than the average loss of half a point.
    assert answer["standard_error"] == pytest.approx(math.sqrt(2) * (2 - 8 / 9) / 90)
    assert (answer["needed"], answer["better"], answer["documents_until_any"]) == (0, 0.5, 50)
    assert (answer["reasons"], answer["blocking_types"], answer["average_loss"]) == ([], [], 0.005)


def test_a_smaller_allowed_loss_asks_for_a_larger_difference(bench: Bench):
    both = records(50, [SOFTWARE], right=40)
    said = bench.compare(both, both, records(50, [SOFTWARE]), "--json", "--average-loss", "0.001")
    assert (said.code, said.json["decision"], said.json["word"]) == (8, "hold", CANNOT_TELL)
    assert said.json["needed"] > 0
    assert said.json["documents_until_any"] > 50


def test_bounded_stops_a_system_that_loses_a_type(bench: Bench):
    gold = records(400, [SOFTWARE, SOFTWARE | {"start": 6, "end": 8}, OS])
    a = [{**record, "spans": record["spans"][:2] if n < 80 else record["spans"]} for n, record in enumerate(gold)]
    b = [{**record, "spans": record["spans"][2:] if n < 160 else record["spans"]} for n, record in enumerate(gold)]
    answer = bench.compare(a, b, gold, "--json").json
    assert (answer["decision"], answer["word"], answer["blocking_types"]) == (REJECT, LIKELY_BETTER, ["OS"])
    assert {name: row["blocks"] for name, row in answer["types"].items()} == {"OS": True, "SOFTWARE": False}
    out = " ".join(bench.compare(a, b, gold).out.split())
    assert "Not passed: OS is shown to be worse." in out


def test_people_get_the_word_the_figures_and_what_would_help(bench: Bench):
    gold = records(30, [SOFTWARE])
    right = [{**record, "spans": [SOFTWARE] if n % 3 else []} for n, record in enumerate(gold)]
    said = bench.compare(right, records(30, [SOFTWARE], right=20), gold)
    assert said.code == 8
    assert max(map(len, said.out.splitlines())) <= 80
    out = " ".join(said.out.split())
    figures = re.search(r"micro 80\.0 80\.0 0\.0 (\d\.\d) 50 % 30 (\+\d\.\d)", out)
    assert figures is not None
    error, needed = figures.groups()
    measured = f"0.0 F1 points on 30 documents (standard error {error}, {needed} needed)"
    assert f"A is held, cannot tell: {measured}, better with a probability of 50 %. Not passed: " in out
    assert re.search(r"With \d{2,} documents of this kind, any difference from 0 on is enough\.", out)


def test_the_naive_policy_promotes_by_a_hair(bench: Bench):
    gold = records(60, [SOFTWARE])
    a, b = records(60, [SOFTWARE], right=41), records(60, [SOFTWARE], right=40)
    assert bench.compare(a, b, gold, "--policy", "higher").code == 0
    assert bench.compare(a, b, gold, *PROVEN).code == 8


def test_an_unknown_policy_is_named_with_those_that_are_known(bench: Bench):
    gold = records(2, [SOFTWARE])
    said = bench.compare(gold, gold, gold, "--policy", "boldest")
    assert said.code == 4
    assert "got boldest" in said.err and "bounded|proven|higher" in said.err


# Documents


def test_records_of_one_doc_are_one_document(bench: Bench):
    gold = [{"id": f"{n}", "spans": [SOFTWARE], "doc": f"thread {n // 10}"} for n in range(60)]
    b = [{"id": record["id"], "spans": []} for record in gold]
    said = bench.compare(gold, b, gold, "--json")
    assert (said.json["documents"], said.json["records"]) == (6, 60)
    # Six documents swap together: one arrangement in 64 is as good, not one in 2^60.
    assert said.json["p_value"] == pytest.approx(1 / 64, abs=0.006)


def test_the_doc_may_stand_in_a_systems_file_alone(tmp_path: Path, bench: Bench):
    plain, with_doc = records(3, [SOFTWARE]), records(3, [SOFTWARE], doc="thread")
    paths = [bench.write(name, lines) for name, lines in (("a", with_doc), ("b", plain), ("gold", plain))]
    assert set(read_sides(*paths).documents) == {("doc", "thread")}


def test_a_doc_that_is_named_like_another_records_id_is_another_document(bench: Bench):
    gold = [{"id": "x", "spans": [SOFTWARE]}, {"id": "y", "spans": [SOFTWARE], "doc": "x"}]
    assert bench.compare(gold, gold, gold, "--json").json["documents"] == 2


def test_counts_of_one_document_are_summed_in_the_order_of_the_documents():
    arrays = (np.array([[1, 0], [2, 1], [4, 0]]) * times for times in (1, 2, 3))
    summed = grouped(Counts(("A", "B"), *arrays), ["x", "y", "x"])
    assert summed.true_positives.tolist() == [[5, 0], [2, 1]]
    assert summed.predicted.tolist() == [[10, 0], [4, 2]]
    assert summed.gold.tolist() == [[15, 0], [6, 3]]


# What is said of what counts otherwise, or is left out


def test_a_predicted_label_that_gold_does_not_have_is_spurious_and_told(bench: Bench):
    gold = records(2, [SOFTWARE])
    a = [{"id": "t0", "spans": [SOFTWARE, OS]}, {"id": "t1", "spans": [SOFTWARE]}]
    answer = bench.compare(a, gold, gold, "--json").json
    assert answer["f1"]["a"] == pytest.approx(2 * 2 / (3 + 2))
    assert list(answer["types"]) == ["SOFTWARE"]
    assert answer["notes"] == ["A: 1 span of labels that the gold does not have, counted as spurious: OS"]


def test_overlapping_spans_are_left_out_as_in_evaluation_and_told(bench: Bench):
    gold = records(1, [SOFTWARE, SOFTWARE | {"end": 8}])
    answer = bench.compare(records(1, [SOFTWARE]), records(1, [SOFTWARE | {"end": 8}]), gold, "--json").json
    assert answer["f1"] == {"a": 0.0, "b": 1.0}
    assert answer["notes"] == ["gold: 1 span overlaps another and is left out, the longest wins; in t0"]


def test_records_that_gold_does_not_have_are_left_out_and_told(bench: Bench):
    a = [*records(2, [SOFTWARE]), *({"id": f"extra {n}", "spans": []} for n in range(7))]
    answer = bench.compare(a, records(2, [SOFTWARE]), records(2, [SOFTWARE]), "--json").json
    assert answer["records"] == 2
    shown = ", ".join(f"extra {n}" for n in range(5))
    assert answer["notes"] == [f"A has 7 records that are not in the gold, and are left out: {shown} and 2 more"]


def spaced(spans: list[Any]) -> list[Any]:
    """The same spans with the white space behind them, as people draw them."""
    return [span | {"end": span["end"] + (TEXT[span["end"] : span["end"] + 1] == " ")} for span in spans]


@pytest.mark.parametrize("side", ["a", "b", "gold"])
@pytest.mark.parametrize("holder", ["a", "b", "gold"])
def test_white_space_at_the_ends_of_spans_changes_no_score(bench: Bench, side: str, holder: str):
    def answer(*, wide: bool) -> Any:
        spans = spaced([SOFTWARE, OS]) if wide else [SOFTWARE, OS]
        made = {name: records(30, spans if name == side else [SOFTWARE, OS], 30 - 6 * (name == "b")) for name in "ab"}
        made["gold"] = records(30, spans if side == "gold" else [SOFTWARE, OS])
        made[holder] = [record | {"text": TEXT} for record in made[holder]]
        return bench.compare(made["a"], made["b"], made["gold"], "--json").json

    assert spaced([SOFTWARE, OS]) != [SOFTWARE, OS]
    assert answer(wide=True) == answer(wide=False)


def test_blank_spans_are_left_out_and_told(bench: Bench):
    blank = {"start": 5, "end": 6, "label": "OS"}
    gold = records(2, [SOFTWARE, blank], text=TEXT)
    said = bench.compare(records(2, [SOFTWARE]), records(2, [SOFTWARE]), gold, "--json")
    assert said.json["notes"] == ["gold.jsonl: 2 x blank span, left out"]
    assert said.json["support"] == 2


def test_files_of_any_format_are_compared_and_matched_by_text_where_they_have_no_ids(bench: Bench, tmp_path: Path):
    gold = tmp_path / "gold.conll"
    gold.write_text("".join(f"Excel\tB-SOFTWARE\n{n}\tO\n\n" for n in range(9)))
    answers = [{"text": f"Excel {n}", "spans": [SOFTWARE]} for n in range(9)]
    nothing = [{"text": f"Excel {n}", "spans": []} for n in range(9)]
    new, old = bench.write("new", answers), bench.write("old", nothing)
    done = compare_files(new, old, gold)
    assert (done.records, done.comparison.micro.new_f1, done.comparison.micro.old_f1) == (9, 1.0, 0.0)


def test_gold_in_doubt_is_left_out_and_told(bench: Bench):
    outside = {"start": 0, "end": 99, "label": "OS"}
    gold = [*records(2, [SOFTWARE], text=TEXT), {"id": "t2", "text": "ab", "spans": [outside]}]
    said = bench.compare(records(3, [SOFTWARE]), records(3, [SOFTWARE]), gold, "--json")
    assert said.json["records"] == 2
    assert "gold.jsonl: 1 records in doubt are left out" in said.json["notes"][0]


# Refusals


BAD: dict[str, tuple[list[Record | str], str]] = {
    "a record that is missing": (
        [{"id": "t0", "spans": []}],
        "B says something of every record of the gold: got 1 missing: t1",
    ),
    "an id twice": (
        [*records(2, []), {"id": "t1", "spans": []}],
        "b.jsonl, line 3: an id stands once in a file: got t1, first on line 2",
    ),
    "no JSON": (["{", *records(2, [])], "b.jsonl, line 1: a record is well-formed JSON"),
    "no object": (["[]", *records(2, [])], "b.jsonl, line 1: a line holds a JSON object"),
    "no id": ([{"spans": []}], "`id` is a string that is not empty"),
    "no spans": ([{"id": "t0"}], "a record has `spans`"),
    "a span that ends before it starts": (records(2, [SOFTWARE | {"end": 0}]), "a span starts before it ends"),
    "a span beyond the gold's text": (
        records(2, [SOFTWARE | {"end": 17}]),
        "within its text of 16 characters, in B too: got start 0, end 17, id t0",
    ),
    "another text": (
        records(2, [], text="Word on Windows"),
        "B has the text of the other files where it has one: got another for t0",
    ),
    "another doc": (
        records(2, [], doc="elsewhere"),
        "a record belongs to one `doc` in all files: got t0: elsewhere, here",
    ),
    "a text that is null": (records(2, [], text=None), "`text` is a string: got null"),
    "nothing": ([], "a file to compare by holds a record"),
    "a label that is kept for the average": (records(2, [SOFTWARE | {"label": "micro"}]), 'is not named "O", "micro"'),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_by_name(bench: Bench, what: str):
    lines, complaint = BAD[what]
    said = bench.compare(records(2, [SOFTWARE]), lines, records(2, [SOFTWARE], text=TEXT, doc="here"))
    assert said.code == 4
    assert said.out == ""
    assert complaint in said.err


def test_all_bad_lines_of_a_file_are_told_at_once(bench: Bench):
    said = bench.compare(["{", "{", *records(2, [])], records(2, []), records(2, [SOFTWARE]))
    assert said.code == 4
    assert "line 1" in said.err
    assert "line 2" in said.err


def test_gold_without_an_entity_compares_nothing(bench: Bench):
    said = bench.compare(records(2, [SOFTWARE]), records(2, []), records(2, []))
    assert (said.code, "by gold entities" in said.err) == (4, True)


def test_a_file_that_is_not_there_is_named(bench: Bench):
    gold = bench.write("gold", records(1, [SOFTWARE]))
    assert run(["compare", str(gold), "missing.jsonl", "--gold", str(gold)]) == 4
    assert "missing.jsonl can be read" in bench.capsys.readouterr().err


@pytest.mark.parametrize(
    "shares", [{"alpha": 0.0}, {"alpha": 1.0}, {"alpha": 1e-9}, {"delta": 0.0}, {"delta": 1.0}, {"average_loss": 0.0}]
)
def test_a_share_outside_its_bounds_is_refused(tmp_path: Path, shares: dict[str, float]):
    with pytest.raises(InputError, match=f"{next(iter(shares)).replace('_', '-')} lies between"):
        compare_files(tmp_path, tmp_path, tmp_path, **shares)


# For people


def test_people_get_a_table_of_80_columns_and_a_sentence(bench: Bench):
    gold = records(1_200, [SOFTWARE, OS])
    said = bench.compare(gold, records(1_200, [SOFTWARE, OS], right=1_000), gold, *PROVEN)
    lines = said.out.splitlines()
    table, told = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert max(map(len, table)) <= 80
    assert [line.split()[0] for line in table[2:]] == ["OS", "SOFTWARE", "micro"]
    assert max(map(len, told)) <= 80
    assert " ".join(told).split() == (
        [
            "A",
            "is",
            "better",
            "than",
            "B:",
            "+9.1",
            "F1",
            "points",
            "on",
            "1,200",
            "documents,",
            "p",
            "=",
            "0.0001,",
            "alpha",
            "=",
            "0.05.",
        ]
    )


def test_people_are_told_why_a_system_is_not_promoted(bench: Bench):
    gold = records(20, [SOFTWARE])
    out = " ".join(bench.compare(records(20, [SOFTWARE], right=5), gold, gold, *PROVEN).out.split())
    assert "this look" not in out
    assert "A is not promoted: −60.0 F1 points on 20 documents" in out
    assert "Not passed: F1 is not higher" in out
    assert "micro-F1 above B: it is not higher" in out


def test_the_help_says_which_system_is_which(bench: Bench):
    assert run(["compare", "--help"]) == 0
    told = " ".join(bench.capsys.readouterr().out.split())
    assert "whether system A, the candidate, may serve in place of system B, the incumbent" in told
