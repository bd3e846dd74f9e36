"""Promotions of real bundles that look words up. What is said of judging processes is shown with real ones."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loop.cli.invocation import who
from loop.evaluation.regret import needed_difference
from loop.judging.ask import JudgingError
from loop.judging.contract import WrongFileError
from loop.promotion.evaluate import evaluate_on_documents, evaluate_on_holdout
from loop.promotion.gates import absolute_gates
from loop.promotion.holdout import still_waiting
from loop.promotion.power import HoldoutPower, holdout_power
from loop.promotion.promote import RefusedCandidateError, promote_candidate
from loop.settings.model import GateSettings
from ner.documents import LabelledText
from ner.errors import BundleError
from ner.models.bundle import load_bundle
from ner.spans import Span
from ner.tagger import Tagger
from store import registry
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.schema import Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.errors import RefusedError, RunHeldError
from store.gold import gold
from store.holdout import count_looks
from store.registry import finish_model, models, promotions, scores, start_model
from store.runs import begin_run, finish_run
from store.splits import split_sizes
from tests.fakes import tiny_bundle
from tests.loop import tiny
from tests.loop.tiny import Placement
from tests.store.empty import new_store

pytestmark = pytest.mark.usefixtures("judged_here")
# Forty times three: a model that lacks one word differs on a third of them.
GOLD = [
    labelled
    for n in range(40)
    for labelled in (
        (f"windows and excel {n}", (Span(0, 7, "OS"), Span(12, 17, "SOFTWARE"))),
        (f"ubuntu {n}", (Span(0, 6, "OS"),)),
        (f"nothing {n}", ()),
    )
]
ALL = {"windows": "OS", "excel": "SOFTWARE", "ubuntu": "OS"}
TWO = {"windows": "OS", "excel": "SOFTWARE"}
PROVEN = tiny.PROMOTION.changed(policy="proven")


@dataclass
class Raising:
    error: Exception

    def __call__(self) -> str:
        raise self.error


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def desk(store: Store) -> Project:
    """A project with 120 gold documents in its holdout, a third of them without an entity."""
    made = tiny.project(store)
    tiny.put(store, made, list(GOLD), "holdout")
    return made


@pytest.fixture
def placed(tmp_path: Path) -> Placement:
    return Placement(tmp_path / "models")


@pytest.fixture
def proven(placed: Placement) -> Placement:
    """Settings by which only a proof promotes."""
    return replace(placed, promotion=PROVEN)


def candidate(store: Store, project: Project, placed: Placement, words: Mapping[str, str], **manifest: Any) -> str:
    """A candidate whose bundle tags these words."""
    with store.transaction() as tx:
        run = begin_run(tx, project.id, "retrain")
        model = start_model(
            tx, project.id, run_id=run.id, encoder="tiny", seed=1, settings={}, libraries={}, data_fingerprint="0" * 64
        )
        (placed.model_dir / model.path).parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle(placed.model_dir / model.path, project.labels, words, version=model.version, **manifest)
        finish_model(tx, model.version, files={})
        finish_run(tx, run.id)
        tx.commit()
    return model.version


def in_service(store: Store, project: Project) -> str | None:
    with store.read() as session:
        found = registry.promoted(session, project.id)
    return found.version if found else None


def states(store: Store, project: Project) -> list[str]:
    with store.read() as session:
        return [model.state for model in models(session, project.id)]


@pytest.mark.usefixtures("judged_apart")
def test_a_candidate_that_is_shown_to_be_better_goes_into_service_with_the_figures_kept(
    store: Store, desk: Project, proven: Placement
) -> None:
    first = candidate(store, desk, proven, TWO)
    assert promote_candidate(store, proven, desk, who="lead").promoted
    second = candidate(store, desk, proven, ALL)
    result = promote_candidate(store, proven, desk, who="lead")
    assert (result.attempt.version, result.attempt.incumbent, result.attempt.outcome) == (second, first, "promoted")
    assert in_service(store, desk) == second
    assert states(store, desk) == ["retired", "promoted"]
    with store.read() as session:
        micro = {
            version: next(row for row in scores(session, version, "holdout") if row.entity_type == "micro")
            for version in (first, second)
        }
        [_, decision] = promotions(session, desk.id)
    assert (micro[first].f1, micro[second].f1) == (2 * 2 / (2 + 3), 1.0)
    assert (decision.action, decision.who, decision.previous, decision.forced) == ("promote", "lead", first, False)
    assert decision.figures["difference"] == pytest.approx(1.0 - 4 / 5)
    assert decision.figures["p_value"] <= decision.figures["alpha"] == 0.005


def test_a_difference_that_chance_explains_is_rejected_however_high_it_is(store: Store, proven: Placement) -> None:
    few = tiny.project(store)
    tiny.put(store, few, [*GOLD[:2], *[(f"nothing {n}", ()) for n in range(20)]], "holdout")
    first = candidate(store, few, proven, TWO)
    promote_candidate(store, proven, few, who="lead")
    candidate(store, few, proven, ALL)
    result = promote_candidate(store, proven, few, who="lead")
    assert result.attempt.outcome == "rejected"
    assert "chance alone gives as much in" in result.attempt.reason
    assert result.figures["p_value"] == pytest.approx(0.5, abs=0.05)  # one document differs
    assert in_service(store, few) == first
    assert states(store, few) == ["promoted", "rejected"]


def test_a_candidate_that_is_no_better_is_rejected_with_the_figures_and_the_incumbent_serves_on(
    store: Store, desk: Project, proven: Placement
) -> None:
    first = candidate(store, desk, proven, TWO)
    promote_candidate(store, proven, desk, who="lead")
    second = candidate(store, desk, proven, {"windows": "OS", "ubuntu": "OS"})
    result = promote_candidate(store, proven, desk, who="lead")
    assert not result.promoted
    assert "it is not higher" in result.attempt.reason
    assert in_service(store, desk) == first
    assert states(store, desk) == ["promoted", "rejected"]
    with store.read() as session:
        decision = promotions(session, desk.id)[-1]
    assert (decision.action, decision.version) == ("reject", second)
    assert decision.figures["candidate"]["OS"]["f1"] == 1.0
    assert decision.figures["incumbent"]["SOFTWARE"]["f1"] == 1.0


def test_a_candidate_that_is_better_over_all_and_shown_to_be_worse_on_one_type_is_rejected(
    store: Store, proven: Placement
) -> None:
    uneven = tiny.project(store)
    gold = [(f"ubuntu {n}", (Span(0, 6, "OS"),)) for n in range(60)]
    gold += [(f"excel {n}", (Span(0, 5, "SOFTWARE"),)) for n in range(20)]
    tiny.put(store, uneven, gold, "holdout")
    candidate(store, uneven, proven, {"excel": "SOFTWARE"})
    promote_candidate(store, proven, uneven, who="lead")
    candidate(store, uneven, proven, {"ubuntu": "OS"})
    attempt = promote_candidate(store, proven, uneven, who="lead").attempt
    statuses = {gate.entity_type or gate.name: gate.status for gate in attempt.gates}
    assert statuses["micro-F1 above desk-0001"] == "pass"
    assert statuses["SOFTWARE"] == "fail"
    assert attempt.outcome == "rejected"


def test_a_type_with_too_little_gold_is_a_risk_and_no_pass(store: Store, desk: Project, proven: Placement) -> None:
    candidate(store, desk, proven, TWO)
    promote_candidate(store, proven, desk, who="lead")
    candidate(store, desk, proven, ALL)
    attempt = promote_candidate(store, proven, desk, who="lead").attempt
    software = next(gate for gate in attempt.gates if gate.entity_type == "SOFTWARE")
    assert software.status == "insufficient"
    told = "the bound is met, but on too little gold to trust: 40 documents have such entities, 99 are needed"
    assert software.note == told
    assert any("SOFTWARE" in risk for risk in attempt.risks)


def test_each_attempt_is_one_look_and_spends_its_part_of_alpha(store: Store, desk: Project, placed: Placement) -> None:
    spending = replace(placed, promotion=tiny.PROMOTION.changed(alpha=0.06, looks=3, spending="decreasing"))
    candidate(store, desk, spending, ALL)
    looks = [promote_candidate(store, spending, desk, who="lead").attempt.look]
    for _ in range(2):
        candidate(store, desk, spending, TWO)
        looks.append(promote_candidate(store, spending, desk, who="lead").attempt.look)
    assert [look.number for look in looks if look] == [1, 2, 3]
    parts = [1 / 1, 1 / 4, 1 / 9]
    assert [look.alpha for look in looks if look] == pytest.approx([0.06 * part / sum(parts) for part in parts])
    assert looks[-1] is not None
    assert looks[-1].spent == pytest.approx(0.06)


def test_the_terms_of_a_holdout_are_fixed_at_its_first_look(store: Store, desk: Project, placed: Placement) -> None:
    candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    bold = replace(placed, promotion=tiny.PROMOTION.changed(alpha=0.5, looks=2))
    candidate(store, desk, placed, ALL)
    look = promote_candidate(store, bold, desk, who="lead").attempt.look
    assert look is not None
    assert (look.number, look.looks, look.total, look.alpha) == (2, 10, 0.05, 0.005)


def test_to_see_a_candidate_on_the_holdout_is_a_look_and_to_promote_it_then_is_the_same_one(
    store: Store, desk: Project, placed: Placement
) -> None:
    version = candidate(store, desk, placed, TWO)
    with store.read() as session:
        folder = placed.model_dir / registry.model(session, version).path
    for _ in range(2):
        seen = evaluate_on_holdout(store, desk, Tagger(load_bundle(folder)), placed.promotion)
        assert seen.look is not None
        assert seen.look.number == 1
    look = promote_candidate(store, placed, desk, who="lead").attempt.look
    assert look is not None
    assert look.number == 1
    assert evaluate_on_holdout(store, desk, Tagger(load_bundle(folder)), placed.promotion).look is None


def test_a_spent_holdout_retires_into_training_and_another_one_is_drawn(store: Store, proven: Placement) -> None:
    made = tiny.project(store)
    held = tiny.put(store, made, list(GOLD), "holdout")
    tiny.texts(store, made, [f"unlabelled {n}" for n in range(500)], "pool")
    with store.read() as session:
        drawn_at_first = split_sizes(session, made.id)["holdout"] - len(held)
    spending = replace(proven, promotion=PROVEN.changed(looks=1))
    first = candidate(store, made, spending, TWO)
    promote_candidate(store, spending, made, who="lead")
    second = candidate(store, made, spending, ALL)
    attempt = promote_candidate(store, spending, made, who="lead").attempt
    assert attempt.outcome == "deferred"
    assert attempt.rotation is not None
    assert attempt.rotation.epoch == 2
    assert attempt.rotation.retired == len(held) + drawn_at_first
    assert 0 < attempt.rotation.drawn < attempt.rotation.eligible
    assert "Holdout 1 was spent" in attempt.reason
    assert "no gold entity yet" in attempt.reason
    assert in_service(store, made) == first
    assert states(store, made) == ["promoted", "candidate"]
    with store.read() as session:
        assert split_sizes(session, made.id)["holdout"] == attempt.rotation.drawn
        assert {item.split for item in gold(session, made.id)} == {"train"}
        assert [row.action for row in promotions(session, made.id)] == ["promote", "defer"]
        assert still_waiting(session, made, second, spending.promotion)


def test_a_holdout_that_no_other_can_follow_stays_and_the_attempt_waits(
    store: Store, desk: Project, proven: Placement
) -> None:
    spending = replace(proven, promotion=PROVEN.changed(looks=1))
    candidate(store, desk, spending, TWO)
    promote_candidate(store, spending, desk, who="lead")
    candidate(store, desk, spending, ALL)
    attempt = promote_candidate(store, spending, desk, who="lead").attempt
    assert (attempt.outcome, attempt.rotation, attempt.look) == ("deferred", None, None)
    assert "too few documents that nobody has labelled" in attempt.reason
    # What joins the holdout after its last look has judged nothing: it is the next holdout.
    fresh = [(f"ubuntu excel again {n}", (Span(0, 6, "OS"), Span(7, 12, "SOFTWARE"))) for n in range(70)]
    tiny.put(store, desk, fresh, "holdout")
    attempt = promote_candidate(store, spending, desk, who="lead").attempt
    assert attempt.rotation is not None
    assert (attempt.rotation.carried, attempt.rotation.drawn) == (70, 0)
    assert (attempt.outcome, len(attempt.documents)) == ("promoted", 70)


def test_force_promotes_whatever_the_gates_say_and_is_never_forgotten(
    store: Store, desk: Project, placed: Placement
) -> None:
    candidate(store, desk, placed, ALL)
    promote_candidate(store, placed, desk, who="lead")
    worse = candidate(store, desk, placed, TWO)
    assert not promote_candidate(store, placed, desk, who="lead").promoted
    with pytest.raises(RefusedError, match="says why"):
        promote_candidate(store, placed, desk, worse, who="lead", force_because=" ")
    result = promote_candidate(store, placed, desk, worse, who="lead", force_because="the other one is too slow")
    assert (result.promoted, result.attempt.outcome) == (True, "forced")
    assert in_service(store, desk) == worse
    with store.read() as session:
        decision = promotions(session, desk.id)[-1]
    assert (decision.forced, decision.who) == (True, "lead")
    assert decision.reason.startswith("Forced by lead, because: the other one is too slow.")
    # It had been seen on this holdout already.
    assert decision.figures["look"]["number"] == 2


def test_force_does_not_put_a_broken_file_into_service(store: Store, desk: Project, placed: Placement) -> None:
    first = candidate(store, desk, placed, ALL)
    promote_candidate(store, placed, desk, who="lead")
    second = candidate(store, desk, placed, TWO)
    (placed.model_dir / "desk" / second / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError):
        promote_candidate(store, placed, desk, who="lead", force_because="I want it")
    assert in_service(store, desk) == first


def test_targets_that_are_set_stand_in_the_way_of_a_first_model(store: Store, desk: Project, placed: Placement) -> None:
    candidate(store, desk, placed, TWO)
    wanting = replace(placed, gates=GateSettings(f1=0.9, types={"OS": {"recall": 0.5}}))
    attempt = promote_candidate(store, wanting, desk, who="lead").attempt
    assert [(gate.name, gate.entity_type, gate.status) for gate in attempt.gates if gate.kind == "quality"] == [
        ("micro: f1", None, "fail"),
        ("OS: recall", "OS", "pass"),
    ]
    assert attempt.outcome == "rejected"
    assert in_service(store, desk) is None


@pytest.mark.usefixtures("judged_apart")
def test_a_target_for_which_nothing_was_measured_is_no_pass(store: Store, desk: Project, placed: Placement) -> None:
    candidate(store, desk, placed, ALL)
    attempt = promote_candidate(store, replace(placed, gates=GateSettings(latency_ms=1e6)), desk, who="lead").attempt
    assert (attempt.outcome, attempt.gates[-1].status) == ("rejected", "not measured")
    candidate(store, desk, placed, ALL)
    timing = replace(
        placed,
        gates=GateSettings(latency_ms=1e6, documents_per_second=1e-3, bundle_mb=100, memory_mb=1e6),
        promotion=tiny.PROMOTION.changed(timed=5),
    )
    attempt = promote_candidate(store, timing, desk, who="lead").attempt
    assert attempt.outcome == "promoted"
    assert [gate.status for gate in attempt.gates if gate.kind == "cost"] == ["pass"] * 4


def test_a_first_model_may_have_to_beat_the_weak_vote(store: Store, desk: Project, proven: Placement) -> None:
    functions = proven.model_dir.parent / "functions.py"
    functions.write_text(
        "from weak_labeling.functions import labeling_function\n"
        "from weak_labeling.heuristics import regex\n"
        "systems = labeling_function(name='systems')(regex('windows|ubuntu', 'OS'))\n"
    )
    against = replace(proven, weak_functions=functions, promotion=PROVEN.changed(first_model="weak vote", looks=4))
    candidate(store, desk, against, {"windows": "OS"})
    attempt = promote_candidate(store, against, desk, who="lead").attempt
    assert (attempt.against, attempt.outcome) == ("weak vote", "rejected")
    candidate(store, desk, against, ALL)
    attempt = promote_candidate(store, against, desk, who="lead").attempt
    assert (attempt.against, attempt.outcome) == ("weak vote", "promoted")


def test_where_votes_serve_a_first_model_waits_for_gold_to_be_compared_on_unless_the_targets_are_to_decide(
    store: Store, placed: Placement
) -> None:
    empty = tiny.project(store)
    tiny.texts(store, empty, ["ubuntu on a laptop"])
    functions = placed.model_dir.parent / "functions.py"
    functions.write_text(
        "from weak_labeling.functions import labeling_function\n"
        "from weak_labeling.heuristics import regex\n"
        "systems = labeling_function(name='systems')(regex('ubuntu', 'OS'))\n"
    )
    placed = replace(placed, weak_functions=functions)
    version = candidate(store, empty, placed, ALL)
    attempt = promote_candidate(store, placed, empty, who="lead").attempt
    assert (attempt.outcome, states(store, empty)) == ("deferred", ["candidate"])
    assert "no gold entity yet" in attempt.reason and "Go on labelling" in attempt.reason
    by_targets = placed.promotion.changed(first_model="gates")
    with store.read() as session:
        assert still_waiting(session, empty, version, placed.promotion)
        assert not still_waiting(session, empty, version, by_targets)
    tiny.put(store, empty, list(GOLD), "holdout")
    with store.read() as session:
        assert not still_waiting(session, empty, version, placed.promotion)
    attempt = promote_candidate(store, placed, empty, who="lead").attempt
    assert (attempt.against, attempt.outcome) == ("weak vote", "promoted")
    assert attempt.ruling is not None and attempt.ruling.first and attempt.ruling.average_loss == 0.025


def test_a_holdout_without_gold_promotes_the_first_and_the_next_one_waits(store: Store, placed: Placement) -> None:
    empty = tiny.project(store)
    candidate(store, empty, placed, TWO)
    assert promote_candidate(store, placed, empty, who="lead").promoted
    version = candidate(store, empty, placed, ALL)
    waiting = promote_candidate(store, placed, empty, who="lead").attempt
    assert (waiting.outcome, waiting.look) == ("deferred", None)
    assert "no gold entity yet" in waiting.reason
    assert states(store, empty) == ["promoted", "candidate"]
    tiny.put(store, empty, list(GOLD), "holdout")
    with store.read() as session:
        assert not still_waiting(session, empty, version, placed.promotion)
    assert promote_candidate(store, placed, empty, who="lead").promoted


def test_so_few_documents_that_nothing_could_pass_cost_no_look(store: Store, proven: Placement) -> None:
    few = tiny.project(store)
    tiny.put(store, few, [(f"ubuntu windows {n}", (Span(0, 6, "OS"), Span(7, 14, "OS"))) for n in range(7)], "holdout")
    candidate(store, few, proven, TWO)
    promote_candidate(store, proven, few, who="lead")
    candidate(store, few, proven, ALL)
    attempt = promote_candidate(store, proven, few, who="lead").attempt
    assert attempt.outcome == "deferred"
    assert "7 documents with gold, and a look takes 15" in attempt.reason
    with store.read() as session:
        assert count_looks(session, few.id, 1) == 1


def test_what_is_counted_are_documents_and_not_the_texts_that_they_were_cut_into(
    store: Store, placed: Placement
) -> None:
    """Eight posts of fifteen texts each have 2^8 arrangements: p is above 1 in 256 however the texts look."""
    placed = replace(placed, promotion=tiny.PROMOTION.changed(least_documents=8))
    made = tiny.project(store)
    with store.transaction() as tx:
        new = [NewDocument(text, external_id=text, group=f"post {n // 15}") for n, (text, _) in enumerate(GOLD)]
        ids = add_documents(tx, made.id, new, "holdout").document_ids
        gold = [NewAnnotation(source=FILE, source_id="1", result=[], spans=spans) for _, spans in GOLD]
        append_annotations(tx, list(zip(ids, gold, strict=True)))
        tx.commit()
    candidate(store, made, placed, TWO)
    promote_candidate(store, placed, made, who="lead")
    candidate(store, made, placed, ALL)
    result = promote_candidate(store, placed, made, who="lead")
    assert result.attempt.comparison is not None
    assert result.attempt.comparison.micro.documents == 8
    assert result.figures["p_value"] >= 0.5**8


def test_a_first_model_that_is_wrong_about_everything_is_rejected(
    store: Store, desk: Project, placed: Placement
) -> None:
    candidate(store, desk, placed, {"and": "OS"})
    attempt = promote_candidate(store, placed, desk, who="lead").attempt
    assert attempt.outcome == "rejected"
    assert "Not passed: entities found (none of 120, target at least 1)" in attempt.reason
    assert in_service(store, desk) is None


@pytest.mark.usefixtures("judged_apart")
def test_a_candidate_whose_file_is_wrong_fails_and_the_incumbent_serves_on(
    store: Store, desk: Project, placed: Placement
) -> None:
    first = candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    second = candidate(store, desk, placed, ALL)
    (placed.model_dir / "desk" / second / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(RefusedCandidateError) as refused:
        promote_candidate(store, placed, desk, who="lead")
    assert in_service(store, desk) == first
    assert states(store, desk) == ["promoted", "failed"]
    assert (refused.value.attempt.version, refused.value.attempt.outcome) == (second, "refused")


def test_a_candidate_of_other_labels_is_refused_and_waits_for_the_config_to_come_back(
    store: Store, desk: Project, placed: Placement
) -> None:
    candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    second = candidate(store, desk, placed, ALL)
    before = list(desk.labels)
    desk.labels = [*before, "ERROR"]
    with pytest.raises(BundleError, match="the model's labels are the project's"):
        promote_candidate(store, placed, desk, who="lead")
    desk.labels = before
    assert promote_candidate(store, placed, desk, who="lead").attempt.version == second


def test_an_incumbent_that_cannot_be_asked_lets_nobody_pass(store: Store, desk: Project, placed: Placement) -> None:
    first = candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    file = placed.model_dir / "desk" / first / "model.onnx"
    whole = file.read_bytes()
    file.unlink()
    second = candidate(store, desk, placed, ALL)
    attempt = promote_candidate(store, placed, desk, who="lead").attempt
    assert (attempt.outcome, attempt.look) == ("deferred", None)
    assert f"{first}, which is in service, can be asked" in attempt.reason
    assert (in_service(store, desk), states(store, desk)) == (first, ["promoted", "candidate"])
    with store.read() as session:
        assert count_looks(session, desk.id, 1) == 1
    file.write_bytes(whole)
    assert promote_candidate(store, placed, desk, who="lead").promoted
    assert in_service(store, desk) == second


@pytest.mark.parametrize("asked", [1, 2])
@pytest.mark.usefixtures("judged_apart")
def test_a_process_that_is_killed_says_nothing_about_the_model(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    """The first process asks the candidate, the second the incumbent."""
    candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    candidate(store, desk, placed, ALL)
    counted = itertools.count(1)

    class Killed(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            if next(counted) == asked:
                self.kill()

    with monkeypatch.context() as patched:
        patched.setattr("loop.judging.ask.subprocess.Popen", Killed)
        if asked == 1:
            with pytest.raises(JudgingError):
                promote_candidate(store, placed, desk, who="lead")
        else:
            assert promote_candidate(store, placed, desk, who="lead").attempt.outcome == "deferred"
    assert states(store, desk) == ["promoted", "candidate"]
    assert promote_candidate(store, placed, desk, who="lead").promoted


def test_where_fp32_cannot_be_run_int8_is_timed_alone(store: Store, desk: Project, placed: Placement) -> None:
    candidate(store, desk, placed, ALL)  # there is no encoder "tiny" to make its FP32 from
    asking = replace(placed, promotion=tiny.PROMOTION.changed(reference=True, timed=5))
    efficiency = promote_candidate(store, asking, desk, who="lead").attempt.efficiency
    assert efficiency is not None
    assert efficiency.reference_error
    assert [(speed.runtime, speed.texts) for speed in efficiency.speeds] == [("ONNX INT8", 5)]


SHORT_OF_MEMORY = {
    "loading": "session = lambda *given, **named: fail(errors.Fail('[E] : 1 : FAIL : failed:std::bad_alloc'))",
    "running": """
class session(onnxruntime.InferenceSession):
    def run(self, *given):
        raise errors.RuntimeException('[E] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer')
""",
    "in Python": "session = lambda *given, **named: fail(MemoryError())",
    "in C++": "session = lambda *given, **named: __import__('os').abort()",
}


@pytest.mark.parametrize("where", SHORT_OF_MEMORY)
@pytest.mark.usefixtures("judged_apart")
def test_a_passing_lack_of_memory_leaves_the_candidate_a_candidate(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    loading = "from ner.models.runtime import errors, onnxruntime"
    lines = (loading, "def fail(error): raise error", SHORT_OF_MEMORY[where])
    (tmp_path / "sitecustomize.py").write_text("\n".join((*lines, "onnxruntime.InferenceSession = session\n")))
    candidate(store, desk, placed, ALL)
    with monkeypatch.context() as short:
        short.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(JudgingError):
            promote_candidate(store, placed, desk, who="lead")
    assert states(store, desk) == ["candidate"]
    assert promote_candidate(store, placed, desk, who="lead").promoted


def test_an_incumbent_of_fewer_labels_is_what_a_candidate_is_compared_with(
    store: Store, desk: Project, placed: Placement
) -> None:
    candidate(store, desk, placed, ALL)
    promote_candidate(store, placed, desk, who="lead")
    desk.labels = [*desk.labels, "ERROR"]
    candidate(store, desk, placed, TWO)
    attempt = promote_candidate(store, placed, desk, who="lead").attempt
    assert (attempt.against, attempt.outcome) == ("desk-0001", "rejected")
    assert [row.name for row in attempt.comparison.per_type] == desk.labels if attempt.comparison else False


def test_scores_on_a_file_with_held_out_texts_are_a_look_too(store: Store, desk: Project, placed: Placement) -> None:
    version = candidate(store, desk, placed, TWO)
    with store.read() as session:
        tagger = Tagger(load_bundle(placed.model_dir / registry.model(session, version).path))
    elsewhere = [LabelledText("1", "ubuntu elsewhere", (Span(0, 6, "OS"),))]
    assert evaluate_on_documents(store, desk, tagger, elsewhere, "file", placed.promotion).look is None
    held = [*elsewhere, LabelledText("2", GOLD[0][0], GOLD[0][1])]
    look = evaluate_on_documents(store, desk, tagger, held, "file", placed.promotion).look
    assert look is not None
    assert look.number == 1


def test_only_the_newest_candidate_is_judged_and_older_ones_are_retired_without_a_look(
    store: Store, desk: Project, placed: Placement
) -> None:
    versions = [candidate(store, desk, placed, TWO) for _ in range(3)]
    with pytest.raises(RefusedError, match=f"{versions[0]} is superseded by {versions[2]}"):
        promote_candidate(store, placed, desk, versions[0], who="lead")
    assert promote_candidate(store, placed, desk, who="lead").attempt.version == versions[2]
    assert states(store, desk) == ["superseded", "superseded", "promoted"]
    with store.read() as session:
        told = [(one.action, one.version, one.reason) for one in promotions(session, desk.id)[:2]]
        assert count_looks(session, desk.id, 1) == 1
    assert told == [("supersede", version, f"superseded by {versions[2]}") for version in versions[:2]]


def test_force_puts_a_superseded_candidate_into_service(store: Store, desk: Project, placed: Placement) -> None:
    older, newer = candidate(store, desk, placed, ALL), candidate(store, desk, placed, TWO)
    done = promote_candidate(store, placed, desk, older, who="lead", force_because="the newer one is slow")
    assert (done.attempt.outcome, in_service(store, desk)) == ("forced", older)
    assert states(store, desk) == ["promoted", "candidate"]
    promote_candidate(store, placed, desk, newer, who="lead")
    older = candidate(store, desk, placed, ALL)
    candidate(store, desk, placed, ALL)
    promote_candidate(store, placed, desk, who="lead")
    promote_candidate(store, placed, desk, older, who="lead", force_because="the newer one is slow")
    assert in_service(store, desk) == older


def test_a_newer_candidate_whose_file_is_wrong_supersedes_nothing(
    store: Store, desk: Project, placed: Placement
) -> None:
    older, newer = candidate(store, desk, placed, TWO), candidate(store, desk, placed, ALL)
    (placed.model_dir / "desk" / newer / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(RefusedCandidateError):
        promote_candidate(store, placed, desk, who="lead")
    assert states(store, desk) == ["candidate", "failed"]
    assert promote_candidate(store, placed, desk, who="lead").attempt.version == older


def test_a_newer_candidate_that_says_something_else_than_its_fp32_supersedes_nothing(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = candidate(store, desk, placed, TWO)
    candidate(store, desk, placed, ALL)

    def compared(*_: Any) -> None:
        raise WrongFileError("the served file says what FP32 says", value="nothing", next_step="Train it again.")

    with monkeypatch.context() as patched:
        patched.setattr("loop.judging.evidence._agreement", compared)
        with pytest.raises(RefusedCandidateError):
            promote_candidate(store, placed, desk, who="lead")
    assert states(store, desk) == ["candidate", "failed"]
    assert promote_candidate(store, placed, desk, who="lead").attempt.version == older


def test_no_candidate_or_one_of_another_state_is_refused_by_name(
    store: Store, desk: Project, placed: Placement
) -> None:
    with pytest.raises(RefusedError, match="needs a candidate"):
        promote_candidate(store, placed, desk, who="lead")
    version = candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    with pytest.raises(RefusedError, match=f"{version} is promoted"):
        promote_candidate(store, placed, desk, version, who="lead")
    with pytest.raises(RefusedError, match="desk-0009 is not a model"):
        promote_candidate(store, placed, desk, "desk-0009", who="lead")


def test_who_decides_is_a_user_by_name_or_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "lead")
    assert who() == "lead"
    for error in (KeyError("uid not found"), OSError("No username set in the environment")):
        monkeypatch.setattr("getpass.getuser", Raising(error))
        assert who() == f"uid {os.getuid()}"


def test_two_promotions_of_a_project_do_not_run_at_once(store: Store, desk: Project, placed: Placement) -> None:
    candidate(store, desk, placed, TWO)
    with store.transaction() as tx:
        begin_run(tx, desk.id, "promote")
        tx.commit()
    with pytest.raises(RunHeldError):
        promote_candidate(store, placed, desk, who="lead")


def test_a_model_that_went_into_service_during_the_evaluation_stops_the_promotion(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = candidate(store, desk, placed, TWO), candidate(store, desk, placed, ALL)

    def meanwhile(*given: Any, **named: Any) -> Any:
        with store.transaction() as tx:
            registry.promote(tx, desk.id, first, reason="by hand", who="another", force=True)
            tx.commit()
        return absolute_gates(*given, **named)

    monkeypatch.setattr("loop.promotion.promote.absolute_gates", meanwhile)
    with pytest.raises(RefusedError, match=f"{first} went into service meanwhile"):
        promote_candidate(store, placed, desk, second, who="lead")
    with store.read() as session:
        assert scores(session, second, "holdout") == []
    assert states(store, desk) == ["promoted", "candidate"]


def test_status_says_what_the_holdout_asks_by_one_model_and_then_by_two(
    store: Store, desk: Project, placed: Placement
) -> None:
    def now(policy: str = "bounded") -> HoldoutPower:
        with store.read() as session:
            return holdout_power(session, desk, placed.promotion.changed(policy=policy))

    assert (now().documents, now().entities, now().detectable, now().growth) == (120, 120, None, None)
    candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    estimate = now()
    assert estimate.estimated
    assert estimate.detectable is not None
    candidate(store, desk, placed, ALL)
    ruling = promote_candidate(store, placed, desk, who="lead").attempt.ruling
    assert ruling is not None
    measured = now()
    assert not measured.estimated
    # z(0.995) + z(0.8) standard errors
    assert measured.detectable == pytest.approx((2.5758 + 0.8416) * ruling.served.error, rel=1e-3)
    assert measured.needed == needed_difference(ruling.served.error, 0.005)
    assert estimate.needed == 0  # the first model served: a wrong decision may cost more
    assert (now("proven").needed, now("higher").needed) == (None, 0)
    assert (measured.spent, measured.looks, measured.alpha) == (2, 10, 0.005)


def test_the_worth_of_a_growing_holdout_is_told_in_annotations_and_in_the_time_that_people_take(
    store: Store, desk: Project, placed: Placement
) -> None:
    for words in (TWO, ALL):
        candidate(store, desk, placed, words)
        promote_candidate(store, placed, desk, who="lead")

    def now() -> HoldoutPower:
        with store.read() as session:
            return holdout_power(session, desk, placed.promotion, annotations=50)

    assert (now().open, now().growth) == (0, None)
    tiny.texts(store, desk, [f"open {n}" for n in range(60)], "holdout")
    tiny.texts(store, desk, [f"open {n}" for n in range(90)], "train")
    grown, before = now().growth, now()
    assert grown is not None and before.needed is not None and grown.needed is not None
    assert (grown.annotations, grown.held_out, grown.seconds) == (50, 20, None)
    assert 0 < grown.needed < before.needed
    lead_times = (20.0, 4.0, 3600.0, 8.0, 12.0)
    ids = tiny.texts(store, desk, [f"timed {n}" for n in range(len(lead_times))], "train")
    timed = [
        NewAnnotation(source=FILE, source_id="1", result=[], spans=(), creator="7", lead_time=time)
        for time in lead_times
    ]
    with store.transaction() as tx:
        append_annotations(tx, list(zip(ids, timed, strict=True)))
        tx.commit()
    grown = now().growth
    assert grown is not None
    assert grown.seconds == 50 * 12.0
