"""The loops of `scripts.bench.policy`: what is blind stays blind, making resumes, a replay costs what it should."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loop.evaluation.scores import Counts
from loop.promotion.policies import HIGHER, POLICIES
from scripts.bench.policy.__main__ import Order, estimated, main, make_loop
from scripts.bench.policy.counts import LoopCounts, candidate_path, gather, read_counts, write_counts
from scripts.bench.policy.loops import (
    CARELESS,
    FIRST,
    SETS,
    SWITCHED,
    Candidate,
    Loop,
    LoopSet,
    candidates_of,
    draw_loop,
    look_up,
)
from scripts.bench.policy.replay import ALL, DEFAULT, Rule, Track, draw_track, drifting, names_by_round, replay
from scripts.bench.policy.tables import figures_of

TYPES = ("SOFTWARE", "OS")
HIGHER_WINS = Rule("higher", POLICIES[HIGHER], lambda _: 0.0)


@pytest.fixture
def posts(tmp_path: Path) -> LoopSet:
    """Posts of three sentences each; every sentence has a name."""
    path = tmp_path / "train.jsonl"
    with path.open("w") as file:
        for number in range(240):
            name = f"tool{number % 40}"
            spans = [{"start": 4, "end": 4 + len(name), "label": "Tool" if number % 5 else "System"}]
            record = {
                "id": f"s{number}",
                "doc": f"p{number // 3}",
                "text": f"use {name} in case {number}",
                "spans": spans,
            }
            file.write(json.dumps(record) + "\n")
    return LoopSet("posts", path, {"Tool": "SOFTWARE", "System": "OS"}, batch=20)


# Loops


def test_what_judges_and_what_tells_the_truth_was_never_learned_from(posts: LoopSet):
    loop = draw_loop(posts, 1, 5)
    sides = loop.learned(5), loop.judged(), loop.truth
    docs = [{item.doc for item in side} for side in sides]
    assert not (docs[0] & docs[1] or docs[0] & docs[2] or docs[1] & docs[2])
    assert len(sides[0]) + len(sides[1]) == 5 * 20
    assert len(sides[2]) == 120
    assert 0.1 < len(sides[1]) / 100 < 0.35


def test_a_loop_is_the_same_again_and_another_seed_makes_another(posts: LoopSet):
    assert draw_loop(posts, 1, 5) == draw_loop(posts, 1, 5)
    assert draw_loop(posts, 1, 5).truth != draw_loop(posts, 2, 5).truth


def test_the_example_leaves_221_texts_for_the_truth():
    loop = draw_loop(SETS["example"], 1, 8)
    assert len(loop.truth) == 461 - 8 * 30
    assert any(item.votes for item in loop.learned(8))


def test_more_rounds_than_there_are_texts_are_refused(posts: LoopSet):
    with pytest.raises(ValueError, match="too few for 12 rounds of 20"):
        draw_loop(posts, 1, 12)


def test_a_corruption_touches_the_last_batch_alone(posts: LoopSet):
    loop = draw_loop(posts, 1, 5)
    clean, switched, careless = (loop.learned(3, corruption) for corruption in (None, SWITCHED, CARELESS))
    before = len(loop.learned(2))
    assert clean[:before] == switched[:before] == careless[:before]
    other = {"SOFTWARE": "OS", "OS": "SOFTWARE"}
    for good, bad in zip(clean[before:], switched[before:], strict=True):
        assert [other[span.label] for span in good.spans] == [span.label for span in bad.spans]
    kept = sum(len(item.spans) for item in careless[before:]) / sum(len(item.spans) for item in clean[before:])
    assert 0.1 < kept < 0.7


def test_the_first_model_learns_from_votes_and_the_others_from_gold(posts: LoopSet):
    loop = draw_loop(posts, 1, 5)
    weak, gold = Candidate().lessons(loop), Candidate(2).lessons(loop)
    assert gold == [(item.text, item.spans) for item in loop.learned(2)]
    # The dictionary has a third of the names, so that about a third of the texts have a vote.
    assert 0.1 < len(weak) / len(loop.learned(5)) < 0.6
    assert all(spans for _, spans in weak)


def test_the_dictionary_finds_whole_words_the_longest_name_first():
    names = {"windows": "OS", "windows 11": "OS", "excel": "SOFTWARE"}
    found = look_up("Excel and excels on Windows 11", names)
    assert [(span.start, span.end, span.label) for span in found] == [(0, 5, "SOFTWARE"), (20, 30, "OS")]


# Making


def test_making_goes_on_where_it_was_and_its_counts_come_back_from_one_file(tmp_path: Path, capsys):
    order = Order("example", 1, (1, 2), 40, tmp_path, surrogate=True)
    loop = order.loop()
    assert [one.name for one in order.missing(loop)] == [FIRST, "1", "2"]
    make_loop(order)
    assert order.missing(loop) == []
    candidate_path(tmp_path, loop, Candidate(1)).unlink()
    capsys.readouterr()
    [told] = estimated([order], 2)
    assert told.startswith("1 candidates are to be made") and "by what was made already" in told
    made = gather_all(tmp_path, loop, (2,))
    make_loop(order)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["1:"]

    counts = gather_all(tmp_path, loop, (1, 2))
    assert (counts.right["2"] == made.right["2"]).all()
    assert counts.gold.sum() == sum(len(item.spans) for item in (*loop.judged(), *loop.truth))
    assert counts.gold[counts.round > 0].shape[0] == len(loop.judged())
    for name in (FIRST, "1", "2"):
        assert (counts.right[name] <= np.minimum(counts.found[name], counts.gold)).all()
    write_counts(tmp_path / "counts.npz", [counts])
    [back] = read_counts(tmp_path / "counts.npz")
    assert (back.set_name, back.seed, back.batch, back.types, back.rounds) == ("example", 1, 30, counts.types, (1, 2))
    for name in ("gold", "document", "round"):
        assert (getattr(back, name) == getattr(counts, name)).all()
    assert all((back.found[name] == counts.found[name]).all() for name in counts.found)


def gather_all(folder: Path, loop: Loop, rounds: tuple[int, ...]) -> LoopCounts:
    return gather(folder, loop, candidates_of(rounds))


# Replaying


def counts_of(shares: Mapping[str, float], texts: int = 400, held: int = 200, rounds: int = 4) -> LoopCounts:
    """Texts with one entity each; a candidate finds the share of them that is given, spread evenly."""
    gold = np.stack([np.arange(texts) % 4 > 0, np.arange(texts) % 4 == 0], axis=1).astype(np.int64)
    found = {name: gold * ((np.arange(texts) * 37 % 100) < 100 * share)[:, None] for name, share in shares.items()}
    round_of = np.where(np.arange(texts) < held, np.arange(texts) * rounds // held + 1, 0)
    numbers = tuple(range(1, rounds + 1))
    return LoopCounts("posts", 1, 50, TYPES, numbers, gold, np.arange(texts), round_of, found, found)


def track_of(counts: LoopCounts) -> Track:
    sides = {name: Counts(TYPES, counts.right[name], counts.found[name], counts.gold) for name in counts.right}
    rows = np.flatnonzero(counts.round)
    return Track(
        sides, counts.document, rows, counts.round[rows], {name: side.micro_f1() for name, side in sides.items()}
    )


def test_a_better_candidate_serves_and_a_worse_one_does_not():
    counts = counts_of({FIRST: 0.5, "1": 0.7, "2": 0.6, "3": 0.9, "4": 0.85})
    done = replay(track_of(counts), DEFAULT, names_by_round(counts, corrupted=False))
    assert done.served == ("1", "1", "3", "3")
    assert [(move.before, move.after) for move in done.moves] == [(FIRST, "1"), ("1", "3")]
    assert done.claims[0] == (1, "1", FIRST)


def test_a_claim_is_made_against_the_last_proven_model_not_against_the_model_in_service():
    # Candidate 1 is promoted without a proof. Candidate 2 differs from it on 6 of 100 texts, from the first on 10.
    counts = counts_of({FIRST: 0.5, "1": 0.54, "2": 0.6, "3": 0.6, "4": 0.6})
    done = replay(track_of(counts), DEFAULT, names_by_round(counts, corrupted=False))
    assert done.served[:2] == ("1", "2")
    assert done.claims == ((2, "2", FIRST),)


@pytest.mark.parametrize("draw", [0, 1, 2])
def test_no_text_both_judges_and_tells_the_truth_whichever_texts_are_drawn(draw: int):
    counts = counts_of({FIRST: 0.5, "1": 0.7}, texts=500, held=200)
    track = draw_track(counts, draw)
    assert track.documents(4) == 200
    assert track.true_difference("1", FIRST).documents == 300
    for name, found in counts.found.items():
        true_f1 = track.truths[name]
        # Every text has one entity and nothing is predicted wrongly: F1 = 2 right / (right + texts).
        right = true_f1 * 300 / (2 - true_f1)
        assert right + track.view(name, 4).true_positives.sum() == pytest.approx(found.sum())


def test_each_draw_holds_other_texts_out():
    counts = counts_of({FIRST: 0.5}, texts=500, held=200)
    assert len({draw_track(counts, draw).truths[FIRST] for draw in range(5)}) > 1


def test_a_round_whose_training_failed_changes_nothing():
    counts = counts_of({FIRST: 0.5, "1": 0.7, "3": 0.9})
    assert replay(track_of(counts), DEFAULT, names_by_round(counts, corrupted=False)).served == ("1", "1", "3", "3")


def test_with_few_documents_no_rule_decides():
    counts = counts_of({FIRST: 0.5, "1": 0.9}, held=40)
    names = names_by_round(counts, corrupted=False)
    assert replay(track_of(counts), HIGHER_WINS, names).served == (FIRST, FIRST, FIRST, FIRST)


def test_regret_and_harm_are_by_the_true_f1():
    counts = counts_of({FIRST: 0.5, "1": 0.6, "2": 0.8, "3": 0.8, "4": 0.8})
    truths = {FIRST: 0.5, "1": 0.6, "2": 0.58, "3": 0.54, "4": 0.7}
    track = track_of(counts)
    track.truths = truths
    names = names_by_round(counts, corrupted=False)
    done = replay(track, HIGHER_WINS, names)
    assert done.served == ("1", "2", "2", "2")
    found = figures_of(track, done, names, counts)
    # The best so far is at .6 for three rounds and then at .7; the model in service at .6 and then at .58.
    assert found.regret == pytest.approx((0 + 2 + 2 + 12) / 4)
    assert (found.moves, found.put_back, found.harm, found.grave, found.replaced) == (2, 0, 1, 0, 50)
    # A round that stands for three rounds of annotations weighs as much, and the last one as the one before.
    sparse = figures_of(track, done, names, replace(counts, rounds=(1, 2, 3, 6)))
    assert sparse.regret == pytest.approx((0 + 2 + 3 * 2 + 3 * 12) / 8)


def test_a_model_that_served_before_comes_back_where_it_is_asked_again():
    # Round 1 favours the candidate on its few texts; the whole holdout shows that the first model is better.
    counts = counts_of({FIRST: 0.8, "1": 0.8, "2": 0.2, "3": 0.2, "4": 0.2})
    lucky = counts.found["1"] * np.where(counts.round == 1, 1, np.arange(400) % 2)[:, None]
    lucky[counts.round == 1] = counts.gold[counts.round == 1]
    counts = replace(counts, right={**counts.right, "1": lucky}, found={**counts.found, "1": lucky})
    done = replay(track_of(counts), replace(DEFAULT, memory=ALL), names_by_round(counts, corrupted=False))
    assert done.served[0] == "1"
    assert done.served[-1] == FIRST
    assert [move.put_back for move in done.moves] == [False, True]


def test_poison_loses_half_a_point_with_each_candidate_and_no_step_loses_nothing():
    counts = counts_of({FIRST: 0.5, "3": 0.7, "4": 0.75}, texts=2000)
    track, names = drifting(counts, 0, 0.005)
    assert [track.truths[FIRST] - track.truths[names[number]] for number in (1, 16)] == pytest.approx([0.005, 0.08])
    # The systems are as bad as their truth says, but for chance: 2,000 entities, of which 700 or so are missed.
    measured = [track._sides[name].micro_f1() for name in names.values()]
    assert np.mean(measured) == pytest.approx(np.mean([track.truths[name] for name in names.values()]), abs=0.01)
    flat, _ = drifting(counts, 0, 0.0)
    assert len(set(flat.truths.values())) == 1


def test_every_table_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    write_counts(
        tmp_path / "counts.npz", [counts_of({FIRST: 0.5, "1": 0.6, "2": 0.7, "3": 0.4, "3-switched": 0.3, "4": 0.8})]
    )
    words = ["bench.policy", "replay", "--counts", str(tmp_path / "counts.npz"), "--draws", "2"]
    monkeypatch.setattr("sys.argv", words)
    main()
    out = capsys.readouterr().out
    assert out.count("| bounded (default) |") == 3
    assert "| posts 1 | 200 | " in out
    monkeypatch.setattr("sys.argv", [*words, "--only", "2,3"])
    with pytest.raises(SystemExit, match="no loop"):
        main()
