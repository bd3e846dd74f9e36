"""`scripts.bench.up`: what it reads off a run of `up`, what its tables say, and that it measures nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.up.__main__ import main, moments
from scripts.bench.up.desk import places_in
from scripts.bench.up.tables import compared, decision_table, served_table

SAID = """\
[   0 s] Label Studio is starting for the first time, which takes a minute or two ...
[  56 s] Label Studio answers at http://127.0.0.1:8080
[  57 s] the ML backend answers at http://127.0.0.1:9090
[  61 s] the loop is running: ready
"""


def line(seed: int, answers: int, serving: str, *decided: dict[str, Any], pool: float = 0.6) -> dict[str, Any]:
    """A line of a project whose first model is "one"; every other model has an F1 of `pool` on the pool."""
    models = {"one": {"learned_from": 300, "pool": 0.5, "holdout": 0.4}}
    models |= {name: {"learned_from": answers, "pool": pool, "holdout": 0.7} for name in ("two", "three")}
    return {
        "seed": seed,
        "answers": answers,
        "in_service": serving,
        "first": "one",
        "newest": "three",
        "texts": {"pool": 200, "holdout": 100},
        "models": models,
        "decisions": [decision("promote", "one", None), *decided],
        "prelabels": {"version": serving, "texts": 200, "changed": 50},
    }


def decision(action: str, version: str, previous: str | None) -> dict[str, Any]:
    word = "likely better" if previous else None
    figures = {"word": word, "difference": 0.031, "needed": 0.012}
    return {"action": action, "version": version, "previous": previous, **figures}


def first_row(table: list[str]) -> dict[str, str]:
    """The cells of a table's first row, by the heading."""
    heading, values = ([cell.strip() for cell in line.strip("|").split("|")] for line in (table[0], table[2]))
    return dict(zip(heading, values, strict=True))


PROMOTED = decision("promote", "two", "one")
HELD = decision("hold", "three", "two")


def test_the_moments_of_a_start_are_read_from_what_up_says():
    assert moments(SAID) == {"label_studio": 56, "ready": 61}


def test_regions_compare_by_place_and_label():
    region = {"id": "a", "value": {"start": 1, "end": 4, "text": "abc", "labels": ["OS"]}}
    assert list(places_in([region])) == [(1, 4, "OS")]


def test_a_row_has_the_mean_and_every_seed():
    row = first_row(served_table([line(1, 50, "one"), line(2, 50, "two", PROMOTED)]))
    assert row["served, pool"] == "**0.550** (0.500, 0.600)"
    assert row["learned from"] == "300, 50"
    assert row["first model replaced"] == "1 of 2"


def test_prelabels_of_another_version_than_the_served_one_do_not_count():
    behind = line(1, 50, "two", PROMOTED) | {"prelabels": {"version": "one", "texts": 200, "changed": 0}}
    row = first_row(served_table([behind, line(2, 50, "two", PROMOTED)]))
    assert row["pre-labels of the served version"] == "0 %, 100 %"
    assert row["other than at first"] == "0 %, 25 %"


def test_a_decision_is_scored_at_the_first_stop_after_it_and_once():
    lines = [line(1, 100, "two", PROMOTED, HELD), line(1, 0, "one"), line(1, 50, "two", PROMOTED)]
    assert [(at["answers"], one["version"]) for at, one in compared(lines)] == [(50, "two"), (100, "three")]


def test_a_first_model_and_a_deferred_candidate_were_compared_with_nothing():
    deferred = decision("defer", "two", "one") | {"word": None}
    assert compared([line(1, 50, "one", deferred)]) == []


def test_the_table_of_decisions_shows_both_models_on_pool_and_holdout():
    row = first_row(decision_table([line(1, 50, "two", PROMOTED, pool=0.45)]))
    assert (row["in service, pool"], row["candidate, pool"]) == ("0.500", "0.450")
    assert (row["in service, all of the holdout"], row["candidate, all of the holdout"]) == ("0.400", "0.700")
    assert (row["d on the blind holdout"], row["needed"]) == ("+0.031", "+0.012")


def test_what_stands_in_the_file_is_not_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(line(1, answers, "one")) + "\n" for answers in (0, 50)))
    main([str(results), "--seeds", "1", "--stops", "50"])
    assert "| 50 |" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [results]
