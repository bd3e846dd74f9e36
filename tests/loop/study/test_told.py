"""What a study comes to in words: nothing is called better or worse that the interval does not show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from loop.cli.views.study import summary
from loop.evaluation.significance import Difference
from loop.judging.measured import Speed
from loop.report.facts import SystemScores
from loop.report.page.html import render_html
from loop.report.page.markdown import render_markdown
from loop.study.page import page_of
from loop.study.results import StudiedData, StudiedType, StudiedVariant, Study, VariantCosts, VariantRun, VariantScore
from loop.study.told import BETTER, OPEN, WORSE, millions, sentences, verdict

LORA_F1 = 0.7
RUN = VariantRun(13, LORA_F1, LORA_F1, "INT8, static", 5, 100, 16, 1e-3, None, 0.1, 60.0)


def difference(delta: float, half: float) -> Difference:
    f1s, ends = (LORA_F1 + delta, LORA_F1), (delta - half, delta + half)
    return Difference("micro", *f1s, *ends, *ends, 0.01, 0.95, 50, 40, 1, 1)


def variant(name: str, delta: float = 0.0, half: float | None = None, ms: float = 2.0) -> StudiedVariant:
    """half: of the interval of the difference to lora; None for lora itself."""
    served = SystemScores(LORA_F1 + delta, LORA_F1 + delta, LORA_F1 + delta, 50, 35)
    return StudiedVariant(
        encoder="minilm",
        variant=name,
        runs=(RUN,),
        scores=tuple(VariantScore(row, 50, served) for row in ("OS", "micro", "macro")),
        costs=VariantCosts(6, 1000, 2000, None, 90.0, 23.0),
        speeds=(Speed("ONNX INT8", ms, ms, 1000 / ms, 23.0, 40, 1),),
        differences=() if half is None else (difference(delta, half),),
    )


def study(*variants: StudiedVariant) -> Study:
    data = StudiedData("gold.jsonl", None, 100, 40, 40, 0, (StudiedType("OS", 100, 50),), ())
    at = datetime(2026, 11, 27, tzinfo=UTC)
    return Study(at, "loop study gold.jsonl", data, (13,), {"rank": 16}, {"cores": 2}, variants, "lora", 60.0)


@pytest.mark.parametrize(
    ("delta", "half", "word"),
    [(0.02, 0.01, BETTER), (-0.02, 0.01, WORSE), (0.02, 0.03, OPEN), (-0.02, 0.03, OPEN)],
)
def test_a_variant_is_better_or_worse_only_where_the_interval_leaves_out_zero(
    delta: float, half: float, word: str
) -> None:
    assert verdict(variant("full", delta, half)) == word


def test_the_variant_that_others_are_compared_with_has_no_verdict() -> None:
    assert verdict(variant("lora")) == ""


def test_the_sentences_name_what_is_shown_to_be_better_and_what_is_faster_at_no_shown_loss() -> None:
    told = list(
        sentences(study(variant("full", 0.03, 0.01), variant("lora"), variant("distilled", -0.01, 0.02, ms=1.0)))
    )
    assert told[0].startswith("full has the highest micro-F1 as served, 0.730")
    assert told[1] == (
        "Shown to be better than lora: full. Faster, and not shown to be worse: distilled (2.0 times as fast)."
    )
    assert told[2].startswith("full against lora: +3.0 points (+2.0 to +4.0), better")


def test_a_variant_that_stands_alone_is_not_called_the_highest() -> None:
    told = list(sentences(study(variant("lora"))))
    assert told[0].startswith("lora has micro-F1 0.700 as served: learned from")
    assert page_of(study(variant("lora"))).headline == "lora has micro-F1 0.700 as served"


def test_a_faster_variant_that_is_shown_to_be_worse_is_not_recommended() -> None:
    told = list(sentences(study(variant("lora"), variant("distilled", -0.05, 0.02, ms=1.0))))
    assert told[1] == "No variant is shown to be better than lora."
    assert told[2].endswith("worse; as served 1 ms a text instead of 2 ms.")


def test_of_many_variants_the_tables_tell_the_differences() -> None:
    told = list(sentences(study(variant("lora"), *(variant(f"full {number}", 0.01, 0.02) for number in range(4)))))
    assert len(told) == 2


def test_the_terminal_shows_a_table_of_types_for_each_encoder_in_80_columns() -> None:
    done = study(
        *(replace(variant(name), encoder=f"/models/{one}") for one in ("bert", "other") for name in ("lora", "full"))
    )
    console = Console(width=80)
    with console.capture() as captured:
        console.print(*summary(done, Path("out")), sep="\n")
    shown = captured.get()
    assert shown.count("F1 by type") == 2
    assert "/models/other" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_with_several_encoders_the_variants_are_named_with_theirs() -> None:
    done = study(variant("lora"), replace(variant("lora", 0.01, 0.02), encoder="/models/bert"))
    assert [done.name_of(one) for one in done.variants] == ["minilm lora", "bert lora"]


def test_encoders_of_one_name_are_told_apart_by_their_folders() -> None:
    folders = ("/old/bert", "/new/bert")
    done = study(*(replace(variant("lora"), encoder=folder) for folder in folders))
    assert [done.name_of(one) for one in done.variants] == [f"{folder} lora" for folder in folders]


def test_a_page_of_variants_without_times_and_perturbed_texts_can_be_made() -> None:
    bare = replace(variant("full", 0.01, 0.02), speeds=(), costs=None, errors=None)
    failed = StudiedVariant("minilm", "distilled", error="a student has a teacher: got none.")
    page = page_of(study(variant("lora"), bare, failed))
    assert "distilled could not be trained: a student has a teacher: got none." in render_markdown(page)
    assert "Robustness was not measured." in render_html(page)


@pytest.mark.parametrize(("count", "shown"), [(3749, "3,749"), (675_851, "0.676 M"), (22_568_843, "22.6 M")])
def test_numbers_of_parameters_are_written_in_millions_from_a_hundred_thousand_on(count: int, shown: str) -> None:
    assert millions(count) == shown
