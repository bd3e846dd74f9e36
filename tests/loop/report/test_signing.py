"""What a report says of a decision by policy: the word, the risk and the next step first, then every figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from loop.cli.views.report import view
from loop.console import stdout
from loop.promotion.attempt import FORCED, HELD, PROMOTED, REJECTED, Attempt, Rival, Ruling
from loop.quality.corruption import AnnotatorCheck, CountShift, GoldCheck
from loop.report.files import from_json, to_json
from loop.report.page.attempt import page
from loop.report.page.html import render_html
from loop.report.page.markdown import render_markdown
from store.database.session import Store
from tests.loop.report import reported
from tests.loop.report.reported import attempt, report_of
from tests.store.empty import new_store

PROVEN = Ruling(
    policy="bounded",
    verdict="promote",
    word="proven better",
    served=Rival("desk-0001", 0.062, 0.02, 0.999),
    best=Rival("desk-0001", 0.062, 0.02, 0.999),
    anchor=Rival("desk-0001", 0.062, 0.02, 0.999),
    needed=0.0,
    documents=120,
    documents_until_any=140,
    average_loss=0.005,
    p_value=0.0011,
    alpha=0.005,
)
LIKELY = replace(PROVEN, word="likely better", p_value=0.03, served=Rival("desk-0001", 0.03, 0.02, 0.93), needed=0.012)
NOT_WORSE = replace(LIKELY, word="not shown worse", served=Rival("desk-0001", 0.001, 0.004, 0.6))
HOLDS = replace(
    LIKELY,
    verdict="hold",
    word="cannot tell",
    served=Rival("desk-0001", 0.004, 0.03, 0.55),
    needed=0.021,
    documents=31,
    documents_until_any=1040,
    reasons=("+0.4 F1 points, +2.1 are needed",),
)
WORSE = replace(
    LIKELY,
    verdict="reject",
    word="likely worse",
    served=Rival("desk-0001", -0.07, 0.03, 0.01),
    best=Rival("desk-0000", -0.12, 0.03, 0.0001),
    types=("OS",),
    put_back="desk-0000",
    reasons=("−7.0 F1 points, +2.1 are needed", "OS is shown to be worse"),
)
OUTCOMES = {"promote": PROMOTED, "hold": HELD, "reject": REJECTED}
RULINGS = {ruling.word: ruling for ruling in (PROVEN, LIKELY, NOT_WORSE, HOLDS, WORSE)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = new_store(tmp_path_factory.mktemp("signing") / "loop.db")
    reported.fill(opened)
    yield opened
    opened.close()


def ruled(ruling: Ruling, **changes: Any) -> Attempt:
    return replace(attempt(), **({"ruling": ruling, "outcome": OUTCOMES[ruling.verdict]} | changes))


SIGNED = {
    "proven better": "You can sign that desk-0002 is better than desk-0001: that is proven (p = 0.0011, where 0.005",
    "likely better": "the risk that desk-0002 is worse than desk-0001 is 7 %. You cannot sign that it is proven",
    "not shown worse": "You can sign that nothing shows that it is worse: the risk that desk-0002 is worse",
    "cannot tell": "You can sign nothing about desk-0002 yet, better or worse: the probability",
    "likely worse": "You can sign that desk-0002 is likely worse than desk-0001, with a probability of 99 %",
}


@pytest.mark.parametrize("word", RULINGS)
def test_the_first_screen_has_the_word_the_risk_and_the_next_step(store: Store, word: str) -> None:
    made = report_of(ruled(RULINGS[word]), store)
    shown = page(made)
    assert shown.title.endswith(f", {word}")
    assert len(shown.sentences) == 2
    assert "standard error" in shown.sentences[0]
    assert SIGNED[word] in shown.sentences[1]
    assert shown.next_step == made.next_steps[0].text
    html, markdown = render_html(shown), render_markdown(shown)
    for text in (html, markdown):
        head = text.partition("Decision and gates")[0]
        assert all(part in head for part in (word, "Next step"))
        assert all(f"{name}" in text for name, _ in shown.sections[0].blocks[0].rows)  # type: ignore[union-attr]


@pytest.mark.parametrize("word", RULINGS)
def test_report_json_keeps_the_ruling_and_reads_it_back(store: Store, word: str) -> None:
    made = report_of(ruled(RULINGS[word]), store)
    kept = json.loads(to_json(made))["ruling"]
    assert (kept["word"], kept["needed"], kept["served"]["better"]) == (
        word,
        RULINGS[word].needed,
        RULINGS[word].served.better,
    )
    assert from_json(to_json(made)) == made


def test_a_bounded_promotion_says_what_a_wrong_decision_costs(store: Store) -> None:
    told = report_of(ruled(LIKELY), store).verdict.sentences[1]
    assert told.endswith("A decision like this one costs at most 0.5 points of F1 on average.")
    naive = report_of(ruled(replace(LIKELY, policy="higher")), store).verdict.sentences[1]
    assert "on average" not in naive


def test_a_proof_names_the_model_that_it_is_against_beside_the_one_that_is_replaced(store: Store) -> None:
    ruling = replace(PROVEN, anchor=Rival("desk-0000", 0.2, 0.03, 0.9999), served=Rival("desk-0001", 0.01, 0.02, 0.69))
    told = report_of(ruled(ruling), store).verdict.sentences[1]
    assert "better than desk-0000: that is proven" in told
    assert "desk-0002 is better than desk-0001 with a probability of 69 %" in told


def test_what_is_put_back_is_said_and_asks_why(store: Store) -> None:
    made = report_of(ruled(WORSE), store)
    assert "desk-0000, the best earlier model, is back in service" in made.verdict.sentences[1]
    assert made.next_steps[0].text.startswith("Find out what made desk-0001 worse than desk-0000")
    assert "judged again" not in made.next_steps[0].text
    told = render_markdown(page(made))
    assert "desk-0000 was put back in place of desk-0001. This undoes that" in told
    assert "There is nothing to undo" not in told


def test_a_held_candidate_is_said_to_be_judged_again_where_another_model_was_put_back(store: Store) -> None:
    made = report_of(ruled(replace(HOLDS, put_back="desk-0000")), store)
    told = "desk-0002 is judged again, against desk-0000; on the same gold that takes no look."
    assert made.next_steps[0].text.endswith(told)


def test_a_better_model_that_a_persons_choice_keeps_out_is_named_with_the_way_to_put_it_back(store: Store) -> None:
    made = report_of(ruled(replace(WORSE, put_back=None, kept_out="desk-0000")), store)
    assert "desk-0000 is better than desk-0001, which stays since a person chose it." in made.verdict.sentences[1]
    assert "`loop rollback --to desk-0000" in made.next_steps[0].text
    assert "There is nothing to undo: desk-0001 stays" in render_markdown(page(made))


def test_a_held_candidate_is_told_how_far_it_has_to_go_without_asking_for_documents_as_a_step(store: Store) -> None:
    made = report_of(ruled(HOLDS), store)
    assert "With 1,040 documents like these, any difference from 0 on would be enough." in made.verdict.sentences[1]
    assert made.next_steps[0].text.startswith("Go on annotating. desk-0002 is judged again with 8 more held-out")
    assert not any("not in the pool" in entry.text for entry in made.next_steps)
    assert made.history[-1].action == "hold"


def test_a_promotion_names_the_model_whose_pre_labels_are_published(store: Store) -> None:
    assert "the pre-labels of desk-0002" in report_of(ruled(LIKELY), store).next_steps[0].text


def test_a_type_is_called_not_shown_worse_where_nothing_shows_that_it_is_no_worse(store: Store) -> None:
    bounded, proven = (page(report_of(one, store)) for one in (ruled(LIKELY), attempt()))
    tables = [made.sections[1].blocks[0] for made in (bounded, proven)]
    assert "not shown worse" in tables[0].columns  # type: ignore[union-attr]
    assert "no worse" in tables[1].columns  # type: ignore[union-attr]


def test_new_annotations_are_counted_and_what_was_not_compared_is_said(store: Store) -> None:
    nobody = GoldCheck("desk-0001", 0, (), ())
    told = render_markdown(page(report_of(ruled(LIKELY, gold_check=nobody), store)))
    assert "No annotation is newer than what desk-0001 learned from." in told
    assert "The pool has no open text" in told
    one = AnnotatorCheck("7", 1, 1, 2, 0, 0.0, None, None, warns=False)
    some = GoldCheck("desk-0001", 9, (CountShift("OS", 3, 4, 0.5, warns=False),), (one,))
    told = render_markdown(page(report_of(ruled(LIKELY, gold_check=some), store)))
    assert "1 annotation is newer than what desk-0001 learned from." in told
    assert "The pool has no open text" not in told


@pytest.mark.parametrize("policy", ["bounded", "proven"])
def test_the_command_that_repeats_the_comparison_names_the_policy(store: Store, policy: str) -> None:
    told = render_markdown(page(report_of(ruled(replace(LIKELY, policy=policy)), store)))
    assert f"loop compare A.jsonl B.jsonl --gold GOLD.jsonl --policy {policy}\n" in told


def test_what_decided_names_each_model_once_where_the_best_one_is_in_service(store: Store) -> None:
    (same, _), (other, _) = (page(report_of(ruled(one), store)).sections[0].blocks for one in (LIKELY, WORSE))
    names, others = ([name for name, _ in one.rows] for one in (same, other))  # type: ignore[union-attr]
    assert [name for name in names if "difference to" in name] == [
        "difference to desk-0001, in service and the best so far"
    ]
    assert [name for name in others if "difference to" in name] == [
        "difference to desk-0001, in service",
        "difference to desk-0000, the best so far",
    ]


def test_a_claim_that_could_not_be_made_is_said(store: Store) -> None:
    shown = page(report_of(ruled(replace(LIKELY, p_value=None, alpha=None), look=None), store))
    (facts, _) = shown.sections[0].blocks
    rows = dict(facts.rows)  # type: ignore[union-attr]
    assert "not made: the looks of this holdout are spent" in rows.values()


def test_a_claim_that_was_not_made_since_the_anchor_gave_no_answer_is_said_so(store: Store) -> None:
    shown = page(report_of(ruled(replace(LIKELY, anchor=None, p_value=None, alpha=None)), store))
    (facts, _) = shown.sections[0].blocks
    rows = dict(facts.rows)  # type: ignore[union-attr]
    assert rows["claim"] == "not made: the model that claims are made against could not be asked"
    assert "no look is left" not in render_markdown(shown)


def test_force_is_told_as_force_whatever_the_policy_would_have_said(store: Store) -> None:
    made = report_of(ruled(WORSE, outcome=FORCED, because="we must"), store)
    assert made.verdict.headline == "promoted by force"
    assert "because: we must" in made.verdict.sentences[1]


def test_the_terminal_shows_the_word_and_the_risk(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    made = report_of(ruled(LIKELY), store)
    for item in view(made, page(made)):
        stdout().print(item)
    told = " ".join(capsys.readouterr().out.split())
    assert "the risk that desk-0002 is worse than desk-0001 is 7 %" in told
