"""What a report says: the verdict, every figure, and only what the figures bear out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loop.console import plain
from loop.promotion.attempt import DEFERRED, FAIL, INSUFFICIENT, NON_INFERIORITY, Attempt, Gate
from loop.promotion.rollback import RolledBack
from loop.report.facts import FORMAT, MICRO, AnnotatorCounts, QuantisationLoss
from loop.report.files import from_json, to_json
from loop.report.history import decisions
from loop.report.limits import limits
from loop.report.next_steps import next_steps
from loop.report.page.attempt import page
from loop.report.page.markdown import render_markdown
from loop.report.rollback import report_of_rollback
from loop.settings.model import PromotionSettings, StatusSettings
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.session import Store
from store.documents import stored_documents
from store.gold import gold
from store.projects import project_by_name
from store.registry import model, promote
from tests.loop.report import reported
from tests.loop.report.reported import AT, TYPES, attempt, held_out, report_of, rolled_back, scored
from tests.store.empty import new_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = new_store(tmp_path_factory.mktemp("report") / "loop.db")
    reported.fill(opened)
    yield opened
    opened.close()


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Store]:
    """For tests that write."""
    opened = new_store(tmp_path / "loop.db")
    reported.fill(opened)
    yield opened
    opened.close()


def report(store: Store, given: Attempt) -> dict[str, Any]:
    """What report.json holds."""
    return json.loads(to_json(report_of(given, store)))


def rollback_report(store: Store, done: RolledBack) -> dict[str, Any]:
    """What report.json holds of a rollback."""
    return json.loads(to_json(report_of_rollback("desk", done, store)))


def texts(made: dict[str, Any], key: str) -> str:
    return "\n".join(entry["text"] for entry in made[key])


def row(made: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in made["results"]["rows"] if one["name"] == name)


def test_a_promotion_says_by_how_much_and_with_what_certainty_and_what_is_open(store: Store):
    first, second = report(store, attempt())["verdict"]["sentences"]
    assert first.startswith("desk-0002 was promoted: its micro-F1 of 0.9")
    assert "on 120 held-out documents with 292 entities" in first
    assert "above desk-0001's 0.8" in first
    assert "95 % interval +" in first
    assert "against alpha 0.005" in first
    assert "passed 5 of 9 gates" in second
    assert "too little gold to judge SOFTWARE, OS, HARDWARE and VERSION" in second
    assert "no pass" in second


def test_a_rejection_names_the_gates_that_failed(store: Store):
    made = report(store, reported.rejected())
    assert made["verdict"]["headline"] == "not promoted"
    why = made["verdict"]["sentences"][1]
    assert "failed 3 of 9 gates: better than desk-0001, OS and micro: f1." in why
    assert "too little gold to judge SOFTWARE, HARDWARE and VERSION" in why


def test_a_promotion_by_force_says_who_did_it_against_what_and_why(store: Store):
    made = report(store, reported.forced())
    assert made["verdict"]["headline"] == "promoted by force"
    why = made["verdict"]["sentences"][1]
    assert all(part in why for part in ("lead put it into service", "3 gates that it did not pass"))
    assert why.endswith("because: the old one leaks passwords into the log.")
    assert [one["version"] for one in made["ledger"]["forced"]] == ["desk-0002"]


def test_an_attempt_at_which_nothing_was_looked_at_claims_nothing(store: Store):
    made = report(store, reported.deferred())
    first, second = made["verdict"]["sentences"]
    assert "not judged yet" in first
    assert "no held-out document was looked at" in first
    assert "the new holdout has no gold yet" in second
    assert made["results"]["rows"] == []
    assert (made["efficiency"], made["power"], made["quantisation"], made["robustness"]) == (None, None, [], [])


def test_a_first_model_is_compared_with_nothing_and_the_report_says_so(store: Store):
    made = report(store, reported.first())
    assert "there was no model to compare it with" in made["verdict"]["sentences"][0]
    assert all(one["incumbent"] is None and one["delta"] is None for one in made["results"]["rows"])
    assert "compared with no other model" in texts(made, "limits")


def test_scores_stand_per_type_micro_and_macro_with_their_differences(store: Store):
    made = report(store, attempt())
    assert [one["name"] for one in made["results"]["rows"]] == [*TYPES, "micro", "macro"]
    micro, macro = row(made, "micro"), row(made, "macro")
    assert micro["delta"] == pytest.approx(micro["candidate"]["f1"] - micro["incumbent"]["f1"])
    assert micro["low"] < micro["delta"] < micro["high"]
    assert macro["candidate"]["f1"] == pytest.approx(sum(row(made, name)["candidate"]["f1"] for name in TYPES) / 4)
    assert (macro["low"], macro["high"]) == (None, None)


def test_the_scores_are_those_that_the_decision_was_made_on_and_not_computed_again(store: Store):
    decided_on = attempt(held_out(candidate=1.0)).candidate_scores
    assert decided_on is not None
    made = report(store, attempt(candidate_scores=decided_on))
    assert row(made, "micro")["candidate"]["f1"] == decided_on.micro.f1 == 1.0


def test_each_type_carries_the_status_of_its_own_gate(store: Store):
    gates = tuple(
        Gate(f"{name} is not worse", NON_INFERIORITY, "", "", status, "", name)
        for name, status in zip(TYPES, ("pass", FAIL, INSUFFICIENT, "pass"), strict=True)
    )
    made = report(store, attempt(gates=gates))
    assert [row(made, name)["status"] for name in TYPES] == ["pass", FAIL, INSUFFICIENT, "pass"]


def test_what_int8_costs_is_fp32_minus_what_is_served(store: Store):
    documents = tuple(replace(one, reference=one.gold) for one in held_out())
    made = report(store, attempt(documents))
    (micro, *_) = made["quantisation"]
    assert micro["reference_f1"] == 1.0
    assert micro["loss"] == pytest.approx(1 - micro["served_f1"])
    same = sum(one.candidate == one.gold for one in documents)
    assert made["agreement"] == {"documents": len(documents), "same": same}


def test_a_type_that_int8_moves_is_no_step_while_int8_loses_nothing_in_all(store: Store):
    made = report_of(attempt(), store)

    def steps(micro: float) -> list[str]:
        rows = tuple(QuantisationLoss(name, 0.8, 0.8 - loss, loss, 9) for name, loss in ((MICRO, micro), ("OS", 0.022)))
        return [one.text for one in next_steps(replace(made, quantisation=rows)) if one.topic == "INT8"]

    assert steps(0.0) == []
    (told,) = steps(0.004)
    assert told.startswith("INT8 costs F1: OS −2.2 points") and "loop export-model OUT --target triton" in told


def test_documents_tokens_and_entities_are_counted_by_split(store: Store):
    splits = {one["split"]: one for one in report(store, attempt())["data"]["splits"]}
    assert (splits["train"]["documents"], splits["train"]["labelled"]) == (110, 88)
    assert (splits["holdout"]["documents"], splits["holdout"]["labelled"]) == (40, 32)
    assert splits["train"]["labelled_tokens"] < splits["train"]["tokens"]


def test_types_that_fall_short_are_named_with_how_much(store: Store):
    data = report(store, attempt())["data"]
    assert (data["minimum"], data["recommended"]) == (50, 200)
    for one in data["types"]:
        assert one["short_of_minimum"] == max(0, 50 - one["labels"])
        assert one["short_of_recommended"] == max(0, 200 - one["labels"])


def test_labels_are_those_that_can_be_learned_from_and_not_the_holdouts(store: Store):
    data = report(store, attempt())["data"]
    learned, held = (sum(one[key] for one in data["types"]) for key in ("labels", "holdout"))
    entities = {one["split"]: one["entities"] for one in data["splits"]}
    assert (learned, held) == (entities["train"], entities["holdout"])


def test_gold_and_weak_are_told_apart_as_the_models_were_trained(store: Store):
    trained = report(store, attempt())["data"]["trained"]
    assert trained["gold"] == {"train": 0, "dev": 0}
    assert trained["lineage"] == [{"version": "desk-0001", "gold": 0, "weak": 40}]


def test_who_annotated_how_much_is_counted(store: Store):
    people = {one["who"]: one for one in report(store, attempt())["data"]["annotators"]}
    assert (people["anna"]["documents"], people["ben"]["documents"]) == (80, 40)
    assert people["anna"]["annotations"] == 80


def test_annotations_without_a_name_are_counted_like_all_others(own_store: Store):
    with own_store.transaction() as tx:
        known = {item.document_id for item in gold(tx.session, 1)}
        ids = [one.document_id for one in stored_documents(tx.session, 1) if one.document_id not in known][:3]
        named = [NewAnnotation(source=FILE, source_id="1", result=[], spans=(), creator=None) for _ in ids]
        append_annotations(tx, list(zip(ids, named, strict=True)))
        tx.commit()
    people = {one.who: one for one in report_of(attempt(), own_store).data.annotators}
    assert (people[None].annotations, people[None].documents) == (3, 3)


def test_what_the_settings_came_to_is_shown_beside_the_settings(store: Store):
    made = report_of(attempt(), store)
    assert made.metadata.candidate is not None
    assert made.metadata.candidate.training == {
        "epochs": 32,
        "steps": 96,
        "batch_size": 16,
        "learning_rate": 5e-4,
        "loss": 0.1,
    }
    told = render_markdown(page(made))
    block = told.split("### The training of the candidate")[1].split("###")[0]
    assert "- batch size: 16\n" in block and "- epochs: 32\n" in block
    assert "Training settings of the candidate; the epochs and the batch follow the data, too" in told


def test_metadata_hold_what_it_takes_to_make_both_models_again(store: Store):
    found = report(store, attempt())["metadata"]
    assert found["command"] == "loop promote desk-0002"
    candidate = found["candidate"]
    assert (candidate["parent"], candidate["seed"], candidate["encoder"]) == ("desk-0001", 13, "minilm")
    assert candidate["adapter"] == {"rank": 16, "alpha": 32, "dropout": 0.0}
    assert candidate["lineage"] == ["desk-0002", "desk-0001"]
    assert candidate["libraries"]["torch"] == "2.13.0"
    assert found["incumbent"]["version"] == "desk-0001"


def test_the_history_ends_with_this_attempt_whether_its_decision_is_recorded_yet_or_not(own_store: Store):
    before = report(own_store, attempt())["history"]
    assert [(one["version"], one["this"]) for one in before] == [("desk-0001", False), ("desk-0002", True)]
    assert before[0]["f1"] == 0.75
    with own_store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        made = promote(tx, project.id, "desk-0002", reason="better", who="lead", figures={})
        made.at = AT
        tx.commit()
    assert report(own_store, attempt())["history"] == before


def test_a_candidate_that_was_not_promoted_is_in_the_history_as_such(store: Store):
    assert report(store, reported.rejected())["history"][-1]["action"] == "reject"


def test_earlier_promotions_by_force_stay_in_every_later_report(own_store: Store):
    with own_store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        figures = {"because": "we must"}
        reason = "Forced by boss, because: we must. Micro-F1 0.7 against 0.8."
        promote(tx, project.id, "desk-0002", reason=reason, who="boss", figures=figures, force=True)
        tx.commit()
    (forced,) = report(own_store, attempt(version="desk-0001"))["ledger"]["forced"]
    assert (forced["version"], forced["who"], forced["reason"]) == ("desk-0002", "boss", "we must")


def test_the_ledger_says_how_much_alpha_and_how_many_looks_are_left(store: Store):
    ledger = report(store, attempt())["ledger"]
    assert ledger["alpha_left"] == pytest.approx(0.05 - 0.015)
    assert ledger["looks_left"] == 7


def test_a_spent_holdout_asks_for_labels_in_the_one_that_was_drawn(store: Store):
    made = report(store, reported.spent())
    assert made["ledger"]["rotation"]["drawn"] == 131
    assert "Label holdout 2 first, 135 documents" in texts(made, "next_steps")


def test_one_step_names_all_types_that_need_labels_farthest_from_the_minimum_first(store: Store):
    (labels,) = (one for one in report(store, attempt())["next_steps"] if one["topic"] == "labels")
    assert next(iter(labels["figures"]["missing"].items())) == ("VERSION", 16)
    assert "VERSION (34 labels, 16 short of the minimum, F1 0." in labels["text"]
    assert "200 recommended" in labels["text"]


def test_a_type_with_its_own_minimum_is_told_with_it_and_the_common_minimum_only_where_it_counts(store: Store):
    own = {"minimum": 30, "recommended": 100}
    some = report_of(attempt(), store, wanted=StatusSettings(types={"VERSION": own}))
    (counts,) = (one for one in some.data.types if one.name == "VERSION")
    assert (counts.short_of_minimum, counts.short_of_recommended) == (0, 100 - counts.labels)
    told = texts(json.loads(to_json(some)), "next_steps")
    assert f"VERSION ({counts.labels} labels of 30 at least, 100 recommended, F1 0." in told
    assert "The minimum is 50" in told
    every = StatusSettings(types={one.name: own for one in some.data.types})
    made = report_of(attempt(), store, wanted=every)
    assert "The minimum is" not in texts(json.loads(to_json(made)), "next_steps")
    assert f"{100 - counts.labels} of 100" in render_markdown(page(made))


def test_the_confusions_that_cost_most_are_findings_with_their_price_and_no_steps(store: Store):
    made = report(store, attempt())
    named = [one["figures"] for one in made["findings"] if one["topic"] == "confusion"]
    assert named == made["errors"]["costliest"][:3]
    assert f"{100 * named[0]['cost']:.1f} points higher" in texts(made, "findings")
    assert "confusion" not in {one["topic"] for one in made["next_steps"]}


def test_next_steps_begin_with_what_blocked_then_what_is_open(store: Store):
    topics = [one["topic"] for one in report(store, reported.rejected())["next_steps"]]
    assert topics[:5] == ["blocked", "blocked", "blocked", "too little gold", "labels"]


def test_a_first_model_without_a_target_was_judged_by_nothing_and_it_is_said_first(store: Store):
    speed = Gate("latency, one text", "cost", "at most 100 ms", "12 ms", "pass")
    made = report(store, replace(reported.first(), gates=(speed,), risks=("the first model",)))
    f1 = row(made, "micro")["candidate"]["f1"]
    told = f"No target for quality is set: nothing judged whether {f1:.3f} is good enough."
    assert made["verdict"]["sentences"][1].startswith(told)
    assert made["risks"][0]["text"] == told
    assert "[gates] f1" in made["next_steps"][0]["text"]
    assert "only the targets" not in texts(made, "limits")
    assert "only the targets" in texts(report(store, reported.first()), "limits")


def test_a_file_that_had_to_be_exported_in_fp32_is_said_to_be_with_the_reason(own_store: Store):
    tries = [{"precision": "INT8, smoothed", "f1": 0.81, "texts": 90}, {"precision": "FP32", "f1": 1.0, "texts": 90}]
    with own_store.transaction() as tx:
        made = model(tx.session, "desk-0002")
        made.figures = {**made.figures, "parity": {"attempts": tries}}
        tx.commit()
    told = report(own_store, attempt())
    assert told["metadata"]["candidate"]["exports"] == tries
    (finding,) = (one["text"] for one in told["findings"] if one["topic"] == "precision")
    assert all(part in finding for part in ('served as "FP32"', '"INT8, smoothed"', "0.810", "90 texts"))
    assert "precision" not in {one["topic"] for one in report(own_store, attempt(version="desk-0001"))["findings"]}


def test_a_file_that_had_to_keep_more_in_fp32_is_not_compared_with_a_file_of_its_own_name(own_store: Store):
    tries = [{"precision": "INT8, partly FP32", "f1": f1, "texts": 90} for f1 in (0.96, 0.98)]
    with own_store.transaction() as tx:
        made = model(tx.session, "desk-0002")
        made.figures = {**made.figures, "parity": {"attempts": tries}}
        tx.commit()
    (finding,) = (one["text"] for one in report(own_store, attempt())["findings"] if one["topic"] == "precision")
    assert finding.count("partly FP32") == 1
    assert "With less of it in FP32" in finding and "0.960" in finding


def test_the_candidate_is_trained_again_by_what_differs_from_the_defaults(own_store: Store):
    again = report(own_store, attempt())["metadata"]["retraining"]
    assert (again["command"], again["settings"], again["parent"]) == ("loop retrain", None, "desk-0001")
    with own_store.transaction() as tx:
        made = model(tx.session, "desk-0001")
        made.settings = {**made.settings, "seed": 14, "passes": 2, "encoder": "minilm"}
        tx.commit()
    again = report(own_store, attempt(version="desk-0001"))["metadata"]["retraining"]
    assert again["command"] == "loop retrain --from-scratch"
    assert sorted(again["settings"].removeprefix("[train] ").split(", ")) == ["passes = 2", "seed = 14"]
    assert again["data_fingerprint"].startswith("0123456789abcdef")


def test_texts_of_one_group_are_one_document_and_both_numbers_are_said(store: Store):
    threads = tuple(replace(one, group=f"thread {index // 4}") for index, one in enumerate(held_out()))
    given = attempt(threads)
    assert given.comparison is not None
    micro = replace(given.comparison.micro, documents=30)
    made = report(store, replace(given, comparison=replace(given.comparison, micro=micro)))
    assert "30 held-out documents (120 texts)" in made["verdict"]["sentences"][0]
    assert made["power"]["documents"] == 30
    first = scored(replace(reported.first(), documents=threads))
    assert report(store, first)["results"]["groups"] == 30


def test_a_perturbation_that_moves_no_figure_cannot_be_seen_and_is_no_strength(store: Store):
    base, other, *rest = reported.ROBUSTNESS
    same = replace(other, micro_f1=base.micro_f1, per_type=base.per_type)
    told = "No figure moved after lower case."
    assert told in texts(report(store, attempt(robustness=(base, same, *rest))), "findings")
    untouched = replace(same, changed=0)
    assert told not in texts(report(store, attempt(robustness=(base, untouched, *rest))), "findings")


def test_gold_without_a_name_is_of_unknown_agreement(store: Store):
    made = report_of(attempt(), store)
    data = replace(made.data, annotators=(AnnotatorCounts(None, None, 350, 9),))
    told = next(one.text for one in limits(replace(made, data=data)) if one.topic == "one annotator")
    assert "No annotator is named for 350 of 350 gold texts" in told
    data = replace(made.data, annotators=(AnnotatorCounts("1", None, 350, 9),))
    told = next(one.text for one in limits(replace(made, data=data)) if one.topic == "one annotator")
    assert "100 % of the gold texts are by annotator 1: " in told


def test_the_limit_that_texts_were_seen_stands_only_where_texts_are_shown(store: Store):
    made = report_of(attempt(), store)
    assert "texts seen" in {one.topic for one in limits(made)}
    silent = replace(made, errors=replace(made.errors, examples=()))
    assert "texts seen" not in {one.topic for one in limits(silent)}


def test_a_refused_attempt_makes_a_report_that_says_what_was_wrong(store: Store):
    made = report(store, reported.refused())
    assert made["verdict"]["headline"] == "refused"
    assert "model.onnx has another SHA-256" in made["verdict"]["sentences"][1]
    assert made["history"][-1]["f1"] is None


def test_a_holdout_that_is_too_small_for_the_wanted_difference_is_said_to_be_with_the_number_needed(store: Store):
    made = report(store, attempt())
    power = made["power"]
    assert power["detectable"] > power["wanted"] == 0.02
    assert power["documents_needed"] == -(-120 * (power["detectable"] / 0.02) ** 2 // 1)
    # 40 held-out documents are in the store, all judged, and none is in the pool.
    (step,) = (one for one in made["next_steps"] if one["topic"] == "holdout")
    assert step["figures"] == {"more": power["documents_needed"] - 120, "open": 0, "pool": 0}
    assert f"{power['documents_needed'] - 120:,} of which are not in the pool" in step["text"]


def test_what_labelling_the_open_held_out_documents_would_bring_is_reckoned(store: Store):
    made = report(store, attempt(held_out(32)))
    assert "8 open documents of the holdout" in texts(made, "next_steps")
    found = made["power"]
    then = 100 * found["detectable"] * (32 / 40) ** 0.5
    assert f"to about {then:.1f} points" in texts(made, "next_steps")


def test_a_holdout_that_is_large_enough_is_not_complained_of(store: Store):
    made = report_of(attempt(), store, PromotionSettings(wanted=0.5))
    assert {"holdout too small", "holdout"}.isdisjoint(one.topic for one in (*made.limits, *made.next_steps))


def test_risks_hold_each_open_gate_once(store: Store):
    gate = Gate("OS is not worse", NON_INFERIORITY, "", "", INSUFFICIENT, "900 would tell", "OS")
    told = "OS is not worse: cannot be said (900 would tell)"
    made = report(store, attempt(gates=(gate,), risks=(told,)))
    assert [one["text"] for one in made["risks"]] == [told]
    (derived,) = report(store, attempt(gates=(gate,)))["risks"]
    assert "OS is not worse: 900 would tell" in derived["text"]
    assert "no pass" in derived["text"]


def test_every_value_is_json_and_survives_it(store: Store):
    for given in (attempt(), reported.spent(), reported.deferred(), reported.first(), reported.hostile()):
        written = to_json(report_of(given, store))
        assert to_json(from_json(written)) == written
        assert written.encode("utf-8").decode("utf-8") == written
        made = json.loads(written)
        assert (made["format"], made["kind"]) == (FORMAT, "attempt")


def test_what_is_not_finite_is_null():
    assert plain({"a": float("nan"), "b": (float("inf"), 1.5)}) == {"a": None, "b": [None, 1.5]}


def test_a_holdout_without_a_single_entity_makes_a_report(store: Store):
    bare = tuple(replace(one, gold=(), candidate=(), incumbent=(), reference=()) for one in held_out(3))
    made = report(store, attempt(bare))
    assert row(made, "micro")["support"] == 0
    assert "SOFTWARE, OS, HARDWARE and VERSION" in texts(made, "limits")


def test_an_attempt_on_a_type_without_a_gate_or_a_difference_makes_a_report(store: Store):
    made = report(store, attempt(comparison=None, gates=(), look=None, outcome=DEFERRED))
    assert made["power"] is None
    assert row(made, "micro")["low"] is None


def test_the_history_reads_the_figures_that_a_decision_was_made_on(own_store: Store):
    figures = {
        "candidate": {"micro": {"f1": 0.8}},
        "difference": 0.05,
        "p_value": 0.002,
        "alpha": 0.005,
        "look": {"epoch": 2, "number": 3, "alpha": 0.005},
    }
    with own_store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        promote(tx, project.id, "desk-0002", reason="better", who="lead", figures=figures)
        tx.commit()
    with own_store.read() as session:
        last = decisions(session, project_by_name(session, "desk").id)[-1]
    assert (last.f1, last.difference, last.p_value, last.alpha) == (0.8, 0.05, 0.002, 0.005)
    assert (last.epoch, last.look) == (2, 3)


def test_a_rollback_says_what_went_back_to_what_and_what_was_made_on_top(store: Store):
    made = rollback_report(store, rolled_back())
    first, second = made["verdict"]["sentences"]
    assert first == "desk-0001 is in service again, in place of desk-0002: misses versions."
    assert "3 annotations were made on top of the withdrawn pre-labels" in second
    assert "No task was put back into the queue" in second
    assert [one["role"] for one in made["models"]] == ["in service again", "withdrawn"]
    assert made["models"][0]["scores"][-2]["f1"] == 0.75
    assert [one["unchanged"] for one in made["affected"]] == [True, False, None]
    assert made["published"] is None


def test_a_rollback_says_what_is_an_estimate_and_what_was_requeued(store: Store):
    told = rollback_report(store, rolled_back(exact=False, requeued=3))["verdict"]["sentences"][1]
    assert "as far as times tell" in told
    assert "In the queue again: 3 tasks." in told


def test_a_rollback_names_how_the_withdrawn_model_got_into_service(own_store: Store):
    gates = [{"name": "OS is not worse", "status": "fail"}, {"name": "micro: f1", "status": "pass"}]
    with own_store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        figures = {"because": "we must", "gates": gates}
        promote(tx, project.id, "desk-0002", reason="long", who="boss", figures=figures, force=True)
        tx.commit()
    made = rollback_report(own_store, rolled_back())
    assert (made["service"]["forced"], made["service"]["because"]) == (True, "we must")
    assert made["service"]["failed"] == ["OS is not worse"]
    assert next(one for one in made["next_steps"] if one["topic"] == "gates")["figures"] == {
        "failed": ["OS is not worse"]
    }
    forward = rollback_report(own_store, rolled_back(version="desk-0002", withdrawn=("desk-0001",)))
    assert forward["verdict"]["headline"] == "put back"


def test_a_default_reason_and_a_missing_label_studio_are_said_plainly(store: Store):
    done = rolled_back(reason="asked for on the command line", affected=())
    first, second = rollback_report(store, done)["verdict"]["sentences"]
    assert first == "desk-0001 is in service again, in place of desk-0002."
    assert "no Label Studio" in second


def test_a_report_that_may_not_quote_holds_no_held_out_text(store: Store):
    given = attempt()
    quoting, silent = (report_of(given, store, PromotionSettings(texts=shown)) for shown in (True, False))
    assert quoting.errors.examples
    assert silent.errors.examples == ()
    assert silent.errors.total == quoting.errors.total
    assert "texts seen" not in {one.topic for one in silent.limits}
    assert not any(one.text in to_json(silent) for one in given.documents)
