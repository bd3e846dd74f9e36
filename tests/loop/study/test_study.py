"""Studies of tiny encoders, from a file to the report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loop.settings.toml_text import with_values
from loop.study import variants
from loop.study.data import HowToRead, read_texts
from loop.study.results import Study
from loop.study.study import StudyPlan, run_study
from loop.study.variants import DISTILLED, FULL, LORA, usual_rate
from loop.training.progress import TrainingError, TrainingProgress
from tests.loop import tiny
from tests.loop.targets.exported import loop

pytestmark = pytest.mark.training

ALL = (FULL, LORA, DISTILLED)


@dataclass(frozen=True)
class Place:
    """A folder with gold, and a project whose recipe a tiny encoder learns by."""

    folder: Path
    encoder: Path

    @property
    def gold(self) -> Path:
        return self.folder / "gold.jsonl"

    def study(self, *words: str) -> tuple[int, str, str]:
        """(exit code, standard output, standard error) of `loop study gold.jsonl`."""
        return loop(self.folder, "study", str(self.gold), "--full-rate", "0.01", "--threads", "1", *words)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("study")
    base = tiny.encoder(folder / "encoder")
    settings = tiny.train_settings(base, passes=8).model_dump()
    toml = with_values('[project]\nname = "desk"\n', {f"train.{name}": value for name, value in settings.items()})
    (folder / "loop.toml").write_text(toml, "utf-8")
    lines = [
        {"text": text, "spans": [{"start": span.start, "end": span.end, "label": span.label} for span in spans]}
        for text, spans in tiny.corpus(80)
    ]
    (folder / "gold.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return Place(folder, base)


@pytest.fixture(scope="module")
def told(place: Place) -> Mapping[str, Any]:
    """The JSON answer of a study of all variants, from two seeds."""
    code, said, _ = place.study("--seed", "1", "--seed", "2", "--out", str(place.folder / "out"), "--json")
    assert code == 0, said
    return json.loads(said)


def variant(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(one for one in told["variants"] if one["variant"] == name)


def test_every_variant_learns_the_corpus_from_every_seed(told: Mapping[str, Any]) -> None:
    assert [one["variant"] for one in told["variants"]] == list(ALL)
    assert [run["seed"] for one in told["variants"] for run in one["runs"]] == [1, 2] * 3
    assert min(run["f1"] for one in told["variants"] for run in one["runs"]) > 0.8


def test_scores_count_the_texts_of_all_seeds_together(told: Mapping[str, Any]) -> None:
    gold = sum(kind["dev"] for kind in told["data"]["types"])
    for one in told["variants"]:
        micro = next(row for row in one["scores"] if row["name"] == "micro")
        assert micro["support"] == 2 * gold
        low, high = sorted(run["f1"] for run in one["runs"])
        assert low - 0.02 <= micro["served"]["f1"] <= high + 0.02


def test_parameters_and_files_are_those_of_each_variant(told: Mapping[str, Any]) -> None:
    full, lora, student = (variant(told, name)["costs"] for name in ALL)
    assert (full["trainable"], full["layers"], full["adapter_mb"]) == (full["parameters"], 2, None)
    assert lora["trainable"] < lora["parameters"] == full["parameters"]
    assert 0 < lora["adapter_mb"] < lora["fp32_mb"]
    assert student["layers"] == 1
    assert student["parameters"] < full["parameters"]
    assert student["int8_mb"] < full["int8_mb"] < full["fp32_mb"]


def test_each_variant_is_timed_in_three_runtimes_and_perturbed(told: Mapping[str, Any]) -> None:
    for one in told["variants"]:
        assert [speed["runtime"] for speed in one["speeds"]] == ["torch FP32", "ONNX FP32", "ONNX INT8"]
        assert [row["name"] for row in one["robustness"]][:3] == ["as it is", "lower case", "upper case"]
        assert one["robustness"][0]["micro_f1"] == pytest.approx(one["runs"][0]["f1"])


def test_all_variants_are_compared_with_lora(told: Mapping[str, Any]) -> None:
    assert told["against"] == LORA
    assert [bool(variant(told, name)["differences"]) for name in ALL] == [True, False, True]
    pooled = {name: next(row for row in variant(told, name)["scores"] if row["name"] == "micro") for name in ALL}
    for name in (FULL, DISTILLED):
        micro = variant(told, name)["differences"][0]
        assert micro["new_f1"] == pytest.approx(pooled[name]["served"]["f1"])
        assert micro["old_f1"] == pytest.approx(pooled[LORA]["served"]["f1"])


def test_the_student_is_taught_by_the_better_of_the_others(told: Mapping[str, Any]) -> None:
    for number in (0, 1):
        others = {name: variant(told, name)["runs"][number]["f1"] for name in (FULL, LORA)}
        assert others[variant(told, DISTILLED)["runs"][number]["teacher"]] == max(others.values())


def test_the_errors_account_for_every_entity(told: Mapping[str, Any]) -> None:
    judged = {kind["name"]: kind["dev"] for kind in told["data"]["types"]}
    for one in told["variants"]:
        for row in one["errors"]["per_type"]:
            assert row["right"] + row["boundary"] + row["mistyped"] + row["missed"] == judged[row["type"]]


def test_the_report_is_one_page_that_fetches_nothing(place: Place, told: Mapping[str, Any]) -> None:
    out = Path(told["out"])
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json", "report.md"]
    page = (out / "report.html").read_text("utf-8")
    assert not re.search(r'(src|href)="(?!#)', page)
    written = json.loads((out / "report.json").read_text("utf-8"))
    assert written["variants"] == told["variants"]
    for one in told["variants"]:
        micro = next(row for row in one["scores"] if row["name"] == "micro")
        assert f"{micro['served']['f1']:.3f}" in page
    assert not any(text in page or text in json.dumps(written) for text, _ in tiny.corpus(80))


def test_the_table_on_a_terminal_fits_80_columns_and_names_the_report(place: Place) -> None:
    out = place.folder / "shown"
    twice = ("--encoder", str(place.encoder), "--encoder", str(place.encoder))
    code, said, progress = place.study("--variants", "lora,full", "--format", "json", *twice, "--out", str(out))
    assert code == 0
    table = said.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table[1:]] == ["lora", "full"]
    assert max(map(len, table)) <= 80
    assert f"Report: {out / 'report.html'}" in said
    written = json.loads((out / "report.json").read_text("utf-8"))
    assert written["command"] == (
        f"loop -C {place.folder} study {place.gold} --dev-share 0.2 --variants lora,full --encoder {place.encoder} "
        "--seed 13 --full-rate 0.01 --threads 1 --format=json"
    )
    assert progress.index("lora, seed 13 (1 of 2): training ...") < progress.index(
        "full, seed 13 (2 of 2): training ..."
    )


def test_a_folder_that_is_taken_is_refused_before_anything_is_trained(place: Place, told: Mapping[str, Any]) -> None:
    code, _, said = place.study("--out", told["out"])
    assert code == 4
    assert "no folder is overwritten" in said
    assert "training" not in said


def test_a_place_where_no_report_can_be_written_is_refused_before_anything_is_trained(place: Place) -> None:
    code, _, said = place.study("--out", str(place.folder / "missing" / "out"))
    assert code == 4
    assert "missing can be written to: got no such folder" in said
    assert "training" not in said


def test_an_encoder_that_cannot_be_loaded_is_refused_with_the_option_that_names_it(place: Place) -> None:
    missing = str(place.folder / "no-encoder")
    code, _, said = place.study("--encoder", missing, "--out", str(place.folder / "none"))
    assert code == 3
    assert f"an encoder is a model that transformers loads for token classification: got {missing}" in said
    assert "`loop study` as --encoder" in said


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("lora,quantum", "a variant is one of full, lora, distilled: got quantum"),
        ("distilled", "a student learns from another variant"),
    ],
)
def test_variants_that_cannot_be_studied_are_refused(place: Place, given: str, rule: str) -> None:
    code, _, said = place.study("--variants", given, "--out", str(place.folder / "none"))
    assert code == 3
    assert rule in said


def study(
    place: Place, encoder: Path, names: tuple[str, ...], unlabelled: tuple[str, ...] = (), **changed: Any
) -> Study:
    """A small study, without the command line."""
    texts = read_texts([place.gold], None, share=0.3, labels=(), seed=13, how=HowToRead())
    texts = replace(texts, unlabelled=unlabelled)
    plan = StudyPlan((str(encoder),), names, (13,), 1, full_rate=0.01, timed=0, perturbed=0)
    settings = tiny.train_settings(encoder, **{"passes": 6, **changed})
    return run_study(texts, ("gold.jsonl", None), plan, settings, "loop study", TrainingProgress())


@pytest.mark.parametrize("family", ["distilbert-uncased", "roberta-cased"])
def test_other_families_of_encoders_are_studied_too(place: Place, tmp_path: Path, family: str) -> None:
    pool = tuple(f"the pool has Windows {number}" for number in range(8))  # a batch more in each epoch
    done = study(place, tiny.encoder(tmp_path / "encoder", family), (LORA, DISTILLED), pool)
    lora, student = (one.runs[0] for one in done.variants)
    assert student.steps / student.epochs == lora.steps / lora.epochs + 1
    assert [one.error for one in done.variants] == [None, None]
    assert done.variants[1].runs[0].teacher == LORA
    assert done.variants[1].speeds == done.variants[1].robustness == ()


def test_a_variant_that_cannot_be_trained_is_told_and_the_others_go_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapsed(*_: object) -> None:
        raise TrainingError("a model predicts an entity")

    monkeypatch.setattr(variants._Work, "whole", collapsed)
    out = place.folder / "partly"
    code, said, _ = place.study("--variants", "full,lora", "--out", str(out))
    assert code == 7
    assert "full could not be trained: a model predicts an entity" in said
    assert "full could not be trained" in (out / "report.md").read_text("utf-8")


def test_what_torch_cannot_do_for_one_variant_does_not_end_the_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflown(*_: object) -> None:
        raise RuntimeError("value cannot be converted\nwithout overflow")

    monkeypatch.setattr(variants._Work, "whole", overflown)
    done = study(place, place.encoder, (FULL, LORA))
    full, lora = (one.error for one in done.variants)
    assert lora is None
    assert full is not None
    assert full.startswith("torch trains and exports a variant: got RuntimeError: value cannot be converted. ")


def test_a_study_without_a_variant_that_could_be_trained_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def collapsed(*_: object) -> None:
        raise TrainingError("a model predicts an entity", value="none in " + "x" * 180, next_step="Label more.")

    monkeypatch.setattr(variants._Work, "adapted", collapsed)
    with pytest.raises(
        TrainingError, match=r"got none\. a model predicts an entity: got none in x+\. Label more, give"
    ):
        study(place, place.encoder, (LORA, DISTILLED))


def test_wide_encoders_learn_at_smaller_rates() -> None:
    assert [usual_rate(channels) for channels in (128, 384, 768)] == pytest.approx([2e-4, 2e-4, 5e-5])
