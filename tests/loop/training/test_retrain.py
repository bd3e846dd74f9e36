"""Real trainings of tiny encoders: what they learn, what they leave behind, and what refuses to be trained."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from loop.promotion.promote import promote_candidate
from loop.settings.model import WeakSettings
from loop.training import dataset, lora, trainer
from loop.training import retrain as retraining
from loop.training.dataset import WeakDocument
from loop.training.progress import Epoch, ParityError, TrainingError, TrainingProgress, TrainingStep
from loop.training.retrain import RetrainResult, retrain
from loop.training.served_file.quantise import Quantiser
from ner.labels import LabelSet
from ner.models.bundle import MANIFEST, load_bundle
from ner.models.model_library import ModelLibrary
from ner.spans import Span
from ner.tagger import Tagger
from store.database.columns import utc_now
from store.database.schema import Project
from store.database.session import Store, open_store
from store.errors import RunHeldError
from store.gold import count_fresh_gold, training_gold
from store.projects import project_by_name, set_label_config
from store.registry import model, models, trained_on
from store.runs import last_run, recover, tracked
from store.weak.sources import BY_THE_LOOP, enter_source, set_muted
from tests.loop import tiny
from tests.loop.tiny import Placement
from tests.store.empty import new_store

pytestmark = pytest.mark.training

TEXT = "my Windows crashes on start 80"  # as the corpus has it: a tiny model knows little else
WINDOWS = Span(3, 10, "OS")
LABELS = LabelSet(tiny.LABELS)
SHORT = {"passes": 8}  # twenty passes over forty texts
FIRST = "desk-0001"


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of forty texts is held back, as otherwise a tenth of many."""
    monkeypatch.setattr(dataset, "DEV_FROM", 40)
    monkeypatch.setattr(dataset, "DEV_SHARE", 0.25)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def desk(store: Store) -> Project:
    """A project with forty gold texts."""
    made = tiny.project(store)
    tiny.put(store, made, tiny.corpus(40))
    return made


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def placed(tmp_path: Path, encoder: Path) -> Placement:
    return Placement(tmp_path / "models", tiny.train_settings(encoder))


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A folder with the store and the models of a project whose first model, of forty gold texts, is in service."""
    folder = tmp_path_factory.mktemp("served")
    opened = new_store(folder / "store.db")
    made = tiny.project(opened)
    tiny.put(opened, made, tiny.corpus(40))
    there = Placement(folder / "models", tiny.train_settings(encoder))
    assert retrain(opened, there, made).version == FIRST
    assert promote_candidate(opened, there, made, who="test").promoted
    opened.close()
    return folder


@pytest.fixture
def served(tmp_path: Path, trained_once: Path, placed: Placement) -> Iterator[tuple[Store, Project]]:
    """A copy of that project: its store, and its models where `placed` says."""
    shutil.copytree(trained_once, tmp_path / "copy")
    (tmp_path / "copy" / "models").rename(placed.model_dir)
    opened = open_store(f"sqlite:///{tmp_path / 'copy' / 'store.db'}")
    with opened.read() as session:
        made = project_by_name(session, "Desk")
    yield opened, made
    opened.close()


def states(store: Store, project: Project) -> dict[str, str]:
    with store.read() as session:
        return {model.version: model.state for model in models(session, project.id)}


def folders(placed: Placement) -> list[str]:
    """What stands in the project's model folder."""
    root = placed.model_dir / "desk"
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def changed(placed: Placement, **fields: Any) -> Placement:
    return replace(placed, train=placed.train.changed(**fields))


def adapter_hash(result: RetrainResult) -> str:
    return load_bundle(result.path).manifest.files["adapter/adapter_model.safetensors"]


class Breaking(TrainingProgress):
    """Does something at a stage, or at the third step."""

    def __init__(self, at: str, then: Any) -> None:
        self._at, self._then = at, then

    def stage(self, name: str) -> None:
        if name == self._at:
            self._then()

    def step(self, step: TrainingStep) -> None:
        if self._at == "step" and step.step == 3:
            self._then()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_each_family_is_trained_exported_and_served_from_one_folder(
    store: Store, desk: Project, placed: Placement, tmp_path: Path, held_back: None, family: str
) -> None:
    here = changed(placed, encoder=str(tiny.encoder(tmp_path / family, family)))
    result = retrain(store, here, desk)
    tagger = Tagger(load_bundle(result.path, tiny.LABELS))
    assert [span.without_score() for span in tagger.tag(TEXT).spans] == [WINDOWS]
    assert tagger.version == result.version == "desk-0001"
    assert states(store, desk) == {"desk-0001": "candidate"}
    assert result.parity.logit_difference < 1e-4
    assert result.dev_f1 is not None and result.dev_f1 > 0.5
    assert folders(here) == ["desk-0001"]


def test_the_manifest_and_the_store_say_what_the_model_was_made_of(
    store: Store, desk: Project, placed: Placement, held_back: None
) -> None:
    result = retrain(store, placed, desk)
    manifest = load_bundle(result.path).manifest
    with store.read() as session:
        [row] = models(session, desk.id)
        items = trained_on(session, result.version)
        gold = {document.document_id: document for document in training_gold(session, desk.id).documents}
    assert manifest.data_fingerprint == row.data_fingerprint == result.data_fingerprint
    assert manifest.seed == row.seed == placed.train.seed
    assert manifest.settings == row.settings
    assert manifest.settings["learning_rate"] == placed.train.learning_rate
    assert manifest.libraries["torch"] == row.libraries["torch"]
    of_manifest = hashlib.sha256((result.path / MANIFEST).read_bytes()).hexdigest()
    assert row.files == {**manifest.files, MANIFEST: of_manifest}
    assert manifest.scores["development"]["micro"]["f1"] == row.figures["development"]["micro"]["f1"] == result.dev_f1
    assert manifest.scores["parity"] == result.parity.as_dict()
    assert {item.document_id for item in items} == gold.keys()
    assert all(item.annotation_version_id == gold[item.document_id].annotation_version_id for item in items)
    assert sum(item.role == "dev" for item in items) == result.dev_documents > 0


def test_the_same_data_and_seed_make_the_same_adapter_and_another_seed_another(
    store: Store, desk: Project, placed: Placement
) -> None:
    short = changed(placed, **SHORT, encoder_dropout=0.1)
    first, again = (retrain(store, short, desk, from_scratch=True) for _ in range(2))
    other = retrain(store, changed(short, seed=14), desk, from_scratch=True)
    assert first.data_fingerprint == again.data_fingerprint
    assert adapter_hash(first) == adapter_hash(again) != adapter_hash(other)


def test_a_training_goes_on_from_the_model_in_service_and_learns_less_to_get_further(
    served: tuple[Store, Project], placed: Placement
) -> None:
    store, desk = served
    tiny.put(store, desk, tiny.corpus(48)[40:])
    steps: list[TrainingStep] = []

    class Listening(TrainingProgress):
        def step(self, step: TrainingStep) -> None:
            steps.append(step)

    second = retrain(store, changed(placed, passes=4), desk, progress=Listening())
    assert second.parent == load_bundle(second.path).manifest.parent == FIRST
    with store.read() as session:
        [first, _] = models(session, desk.id)
    assert second.steps < first.figures["training"]["steps"]
    assert first.figures["training"]["batch_size"] == placed.train.batch_size
    assert first.figures["training"]["learning_rate"] == placed.train.learning_rate
    assert steps[0].loss < 0.2  # a new classifier starts at the entropy of the labels, far above


def test_a_training_starts_from_the_base_again_once_much_of_the_gold_is_new(
    served: tuple[Store, Project], placed: Placement
) -> None:
    store, desk = served
    tiny.put(store, desk, tiny.corpus(60)[40:])
    second = retrain(store, changed(placed, **SHORT), desk)
    assert second.parent is None
    [notice] = [notice for notice in second.notices if FIRST in notice]
    assert "20 of 60 texts (33%) are new since the last training from the encoder" in notice
    start = load_bundle(second.path).manifest.scores["start"]
    assert (start["new"], start["new_since_encoder"], start["told"]) == (20, 20, notice)


@pytest.mark.parametrize("obstacle", ["labels", "encoder", "rank", "bundle"])
def test_what_does_not_fit_the_model_in_service_starts_from_the_base_and_says_why(
    served: tuple[Store, Project], placed: Placement, tmp_path: Path, obstacle: str
) -> None:
    store, desk = served
    short = changed(placed, **SHORT)
    if obstacle == "labels":
        desk = relabelled(store, desk, "ERROR")
        tiny.put(store, desk, [(f"{text} again", (Span(0, 2, "ERROR"),)) for text, _ in tiny.corpus(20)])
    elif obstacle == "encoder":
        short = changed(short, encoder=str(tiny.encoder(tmp_path / "another", seed=5)))
    elif obstacle == "rank":
        short = changed(short, rank=2)
    else:
        (placed.model_dir / "desk" / FIRST / "adapter" / "adapter_model.safetensors").write_bytes(b"damaged")
    second = retrain(store, short, desk)
    assert second.parent is None
    [notice] = [notice for notice in second.notices if FIRST in notice]
    assert notice.startswith("training starts from the base")
    expected = {
        "labels": "ERROR is new; OS, SOFTWARE are forgotten",
        "encoder": "its encoder is",
        "rank": "rank 4",
        "bundle": "SHA-256",
    }
    assert expected[obstacle] in notice


def test_types_in_another_order_are_no_obstacle(served: tuple[Store, Project], placed: Placement) -> None:
    store, desk = served
    second = retrain(store, changed(placed, passes=1), relabelled(store, desk, *reversed(desk.labels)))
    assert second.parent == FIRST
    [notice] = [notice for notice in second.notices if FIRST in notice]
    assert "goes on" in notice and "in another order" in notice
    [found] = Tagger(load_bundle(second.path)).tag(TEXT).spans
    assert (found.start, found.label) == (WINDOWS.start, WINDOWS.label)


def relabelled(store: Store, made: Project, *labels: str) -> Project:
    """The project with other labels."""
    with store.transaction() as tx:
        again = set_label_config(tx, made.id, tiny.CONFIG, labels)
        tx.commit()
    return again


def test_from_scratch_ignores_the_model_in_service(served: tuple[Store, Project], placed: Placement) -> None:
    store, desk = served
    assert retrain(store, changed(placed, **SHORT), desk, from_scratch=True).parent is None


def test_without_gold_weak_labels_are_trained_on_and_recorded_as_weak(store: Store, placed: Placement) -> None:
    made = tiny.project(store)
    ids = tiny.texts(store, made, [text for text, _ in tiny.corpus(40)])
    weak = [WeakDocument(i, text, str(i), spans) for i, (text, spans) in zip(ids, tiny.corpus(40), strict=True)]
    result = retrain(store, placed, made, weak=lambda _: weak)
    assert result.kind == "weak"
    with store.read() as session:
        assert {(item.kind, item.annotation_version_id) for item in trained_on(session, result.version)} == {
            ("weak", None)
        }


def test_weak_labels_before_gold_are_recorded_beside_the_gold_and_start_from_the_base(
    served: tuple[Store, Project], placed: Placement
) -> None:
    store, desk = served
    further = tiny.corpus(60)[40:]
    ids = tiny.texts(store, desk, [text for text, _ in further])
    weak = [WeakDocument(i, text, str(i), spans) for i, (text, spans) in zip(ids, further, strict=True)]
    always = replace(placed, weak=WeakSettings(training="always"), train=placed.train.changed(**SHORT))
    with store.transaction() as tx:
        enter_source(tx, desk.id, "poison", "gazetteer", "f" * 64)
        set_muted(tx, desk.id, "poison", True, BY_THE_LOOP, {"documents": 40})
        tx.commit()
    result = retrain(store, always, desk, weak=lambda _: weak)
    assert (result.kind, result.train_documents, result.weak_documents, result.parent) == ("gold", 40, 20, None)
    assert any(notice.startswith("learned first from weak labels on 20 texts") for notice in result.notices)
    manifest = load_bundle(result.path).manifest
    assert manifest.scores["weak"]["used"] and manifest.scores["training"]["first_steps"] > 0
    with store.read() as session:
        items, (muted,) = trained_on(session, result.version), model(session, result.version).figures["muted"]
    assert (muted["source"], muted["by"], muted["evidence"]) == ("poison", "loop", {"documents": 40})
    assert {item.document_id for item in items if item.kind == "weak"} == set(ids)
    assert all((item.kind == "gold") == (item.annotation_version_id is not None) for item in items)


def test_types_without_an_example_and_texts_in_doubt_are_said(store: Store, placed: Placement) -> None:
    made = tiny.project(store, labels=("OS", "SOFTWARE", "ERROR"))
    tiny.put(store, made, [*tiny.corpus(40), ("a plum falls", (Span(2, 6, "FRUIT"),))])
    result = retrain(store, changed(placed, **SHORT), made)
    assert result.missing_types == ("ERROR",)
    assert any("no example of ERROR" in notice for notice in result.notices)
    assert any(notice.startswith("1 labelled document left out as in doubt") for notice in result.notices)
    assert result.train_documents + result.dev_documents == 40


def test_texts_of_the_holdout_are_not_trained_on(store: Store, desk: Project, placed: Placement) -> None:
    held = tiny.corpus(45)[41:42]
    tiny.put(store, desk, held, "holdout")
    [twin] = tiny.put(store, desk, held, "train")
    result = retrain(store, changed(placed, **SHORT), desk)
    assert any("1 document left out" in notice for notice in result.notices)
    with store.read() as session:
        assert twin not in {item.document_id for item in trained_on(session, result.version)}


def test_gold_that_arrives_after_the_data_were_read_is_counted_as_fresh(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_base = retraining.load_base

    def while_gold_arrives(*arguments: Any) -> Any:
        tiny.put(store, desk, tiny.corpus(45)[42:43])
        return load_base(*arguments)

    monkeypatch.setattr(retraining, "load_base", while_gold_arrives)
    result = retrain(store, changed(placed, **SHORT), desk)
    assert result.train_documents + result.dev_documents == 40
    with store.read() as session:
        [row] = models(session, desk.id)
        assert count_fresh_gold(session, desk.id, row.created_at) == 1


def test_twenty_documents_are_all_learned_from_and_found_again(store: Store, placed: Placement) -> None:
    made = tiny.project(store)
    labelled = [item for item in tiny.corpus(200) if "Windows" in item[0] or "Outlook" in item[0]]
    tiny.put(store, made, labelled[:20])
    result = retrain(store, placed, made)
    assert (result.train_documents, result.dev_documents, result.dev_f1) == (20, 0, None)
    bundle = load_bundle(result.path, tiny.LABELS)
    assert "development" not in bundle.manifest.scores
    tagged = [tuple(span.without_score() for span in Tagger(bundle).tag(text).spans) for text, _ in labelled[:20]]
    assert tagged == [spans for _, spans in labelled[:20]]


def test_nothing_ends_a_training_early(store: Store, desk: Project, placed: Placement) -> None:
    result = retrain(store, changed(placed, **SHORT), desk)
    assert (result.epochs, result.steps) == (20, 20 * 40 // placed.train.batch_size)


def test_a_model_that_has_hardly_learned_its_own_texts_is_said(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any("hardly finds" in notice for notice in retrain(store, placed, desk).notices)
    monkeypatch.setattr(trainer, "LEAST_LEARNED", 1.01)
    [notice] = [notice for notice in retrain(store, placed, desk).notices if "hardly finds" in notice]
    assert "F1 " in notice and "train.passes" in notice


def test_nothing_to_learn_from_ends_with_7_and_enters_no_model(store: Store, placed: Placement) -> None:
    made = tiny.project(store)
    with pytest.raises(TrainingError, match="two labelled texts") as refused:
        retrain(store, placed, made)
    assert refused.value.exit_code == 7
    assert states(store, made) == {}


def test_a_model_that_finds_nothing_fails_and_says_what_to_try(store: Store, desk: Project, placed: Placement) -> None:
    stuck = changed(placed, learning_rate=1e-9, passes=1)
    with pytest.raises(TrainingError, match=r"0 predicted, .*learning rates under \[train\]") as refused:
        retrain(store, stuck, desk)
    assert refused.value.exit_code == 7
    assert states(store, desk) == {"desk-0001": "failed"}
    assert folders(placed) == []


def test_a_model_that_finds_nothing_fails_also_where_the_development_split_has_nothing_to_find(
    store: Store, placed: Placement, held_back: None
) -> None:
    made = tiny.project(store)
    tiny.put(store, made, [("my Windows crashes", (WINDOWS,)), *((f"all is well {n}", ()) for n in range(40))])
    stuck = changed(placed, learning_rate=1e-9, passes=1)
    with pytest.raises(TrainingError, match=r"0 predicted, 1 gold in 1 texts"):
        retrain(store, stuck, made)
    assert states(store, made) == {"desk-0001": "failed"}


def test_a_training_that_found_something_ends_with_a_model_that_finds_it_whatever_int8_does(
    store: Store, desk: Project, placed: Placement, held_back: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.texts(store, desk, [text for text, _ in tiny.corpus(70)[40:]])
    monkeypatch.setattr(Quantiser, "write", deaf(Quantiser.write))
    result = retrain(store, placed, desk)
    manifest = load_bundle(result.path, tiny.LABELS).manifest
    assert manifest.precision == result.precision == "FP32"
    attempts = manifest.scores["parity"]["attempts"]
    assert [attempt["f1"] for attempt in attempts] == [0, 0, 0, 0, 1]
    # The texts without labels are compared, too; those of the development split once.
    assert {attempt["texts"] for attempt in attempts} == {70}
    [notice] = [notice for notice in result.notices if 'served as "FP32"' in notice]
    assert 'because "INT8, static" names the spans of FP32 only at an F1 of 0.000 on 70 texts' in notice
    tagger = Tagger(load_bundle(result.path, tiny.LABELS))
    assert [span.without_score() for span in tagger.tag(TEXT).spans] == [WINDOWS]
    assert promote_candidate(store, placed, desk, who="test").promoted


def deaf(real: Callable[..., None]) -> Callable[..., None]:
    """A `Quantiser.write` whose files say O of every token, unless all of the file is in FP32."""

    def write(self: Quantiser, target: Path, in_fp32: Collection[str] = ()) -> None:
        real(self, target, in_fp32)
        if set(self.nodes) <= set(in_fp32):
            return
        model = onnx.load(str(target))
        zeros = np.zeros(len(LABELS.tags), dtype=np.float32)
        zeros[0] = 1000.0
        model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, "deaf"))
        [last] = [node for node in model.graph.node if "logits" in node.output]
        last.output[list(last.output).index("logits")] = "heard"
        model.graph.node.append(onnx.helper.make_node("Add", ["heard", "deaf"], ["logits"]))
        onnx.save(model, str(target))

    return write


def test_a_loss_that_is_not_finite_fails_and_says_at_which_step(store: Store, desk: Project, placed: Placement) -> None:
    with pytest.raises(TrainingError, match=r"loss is finite: got (nan|inf) at step \d+"):
        retrain(store, changed(placed, learning_rate=1e30), desk)
    assert states(store, desk) == {"desk-0001": "failed"}
    assert folders(placed) == []


def test_a_file_that_says_something_else_than_the_model_fails(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = lora.merge

    def dead_layer(model: Any) -> Any:
        merged = merge(model)
        forward = merged.classifier.forward
        # In torch as trained; shifted where the graph is traced with a batch of one, as it is served.
        merged.classifier.forward = lambda hidden: forward(hidden) + (5.0 if hidden.shape[0] == 1 else 0.0)
        return merged

    monkeypatch.setattr(lora, "merge", dead_layer)
    with pytest.raises(ParityError, match="logits of the exported file differ"):
        retrain(store, changed(placed, **SHORT), desk)
    assert states(store, desk) == {"desk-0001": "failed"}
    assert folders(placed) == []


@pytest.mark.parametrize("at", ["training", "step", "exporting", "checking"])
def test_ctrl_c_leaves_an_interrupted_run_and_no_folder(
    store: Store, desk: Project, placed: Placement, at: str
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    short = changed(placed, **SHORT)
    with pytest.raises(KeyboardInterrupt):
        retrain(store, short, desk, progress=Breaking(at, interrupt))
    assert states(store, desk) == {"desk-0001": "interrupted"}
    assert folders(placed) == []
    if at == "checking":
        assert retrain(store, short, desk).version == "desk-0002"


def test_ctrl_c_just_after_the_commit_keeps_the_candidate(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = retraining._Retraining._finish

    def interrupted(*arguments: Any) -> None:
        finish(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(retraining._Retraining, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        retrain(store, changed(placed, **SHORT), desk)
    assert states(store, desk) == {"desk-0001": "candidate"}
    load_bundle(placed.model_dir / "desk" / "desk-0001", tiny.LABELS)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from loop.training.progress import TrainingProgress
from loop.training.retrain import retrain
from loop.settings.model import TrainSettings
from store.projects import project_by_name, set_label_config
from store.database.session import open_store
from tests.loop.tiny import Placement

url, models, settings, at = sys.argv[1:]

class Dying(TrainingProgress):
    def stage(self, name):
        if name == at:
            os.kill(os.getpid(), signal.SIGKILL)

store = open_store(url)
with store.read() as session:
    project = project_by_name(session, "Desk")
retrain(store, Placement(Path(models), TrainSettings(**json.loads(settings))), project, progress=Dying())
"""


@pytest.mark.parametrize("at", ["training", "checking"])
def test_after_kill_9_the_next_training_says_what_it_found_and_completes(
    store: Store, desk: Project, placed: Placement, tmp_path: Path, at: str
) -> None:
    short = changed(placed, **SHORT)
    settings = json.dumps(short.train.model_dump())
    words = [f"sqlite:///{tmp_path / 'store.db'}", str(placed.model_dir), settings, at]
    died = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, env=os.environ)
    assert died.returncode == -signal.SIGKILL
    assert folders(placed) == [".building-desk-0001"]
    result = retrain(store, short, desk)
    assert any("was interrupted: marked so, with desk-0001" in notice for notice in result.notices)
    assert any(".building-desk-0001 was half built: removed" in notice for notice in result.notices)
    assert states(store, desk) == {"desk-0001": "interrupted", "desk-0002": "candidate"}
    assert folders(placed) == ["desk-0002"]


def test_a_second_training_is_refused_while_one_runs(store: Store, desk: Project, placed: Placement) -> None:
    with tracked(store, desk.id, "retrain", exclusive=True), pytest.raises(RunHeldError) as refused:
        retrain(store, placed, desk)
    assert refused.value.exit_code == 6
    assert states(store, desk) == {}


def test_a_gpu_that_is_not_there_is_told_before_a_model_is_entered(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="torch sees a GPU"):
        retrain(store, changed(placed, device="cuda"), desk)
    assert states(store, desk) == {}


def test_progress_hears_of_every_step_and_epoch_in_order(store: Store, desk: Project, placed: Placement) -> None:
    heard: list[Any] = []

    class Listening(TrainingProgress):
        def stage(self, name: str) -> None:
            heard.append(name)

        def step(self, step: TrainingStep) -> None:
            heard.append(step)

        def epoch(self, epoch: Epoch) -> None:
            heard.append(epoch)

    result = retrain(store, changed(placed, **SHORT), desk, progress=Listening())
    steps = [item for item in heard if isinstance(item, TrainingStep)]
    epochs = [item for item in heard if isinstance(item, Epoch)]
    assert [item for item in heard if isinstance(item, str)] == ["preparing", "training", "exporting", "checking"]
    assert [step.step for step in steps] == list(range(1, steps[0].steps + 1))
    assert steps[-1].seconds_left == 0
    assert [epoch.epoch for epoch in epochs] == list(range(1, result.epochs + 1))
    assert epochs[-1].loss == result.loss < epochs[0].loss


@pytest.mark.parametrize("stage", ["preparing", "checking"])
def test_a_training_that_another_host_took_over_makes_no_candidate(
    store: Store, desk: Project, placed: Placement, stage: str
) -> None:
    def taken_over() -> None:
        with store.transaction() as tx:
            run = last_run(tx.session, desk.id, "retrain", state="running")
            assert run is not None
            run.host, run.heartbeat_at = "elsewhere", utc_now() - timedelta(minutes=11)
            recover(tx, desk.id)
            tx.commit()

    with pytest.raises(RunHeldError, match="no longer"):
        retrain(store, changed(placed, **SHORT), desk, progress=Breaking(stage, taken_over))
    assert set(states(store, desk).values()) <= {"interrupted"}
    assert folders(placed) == []


def test_a_training_prints_nothing(
    store: Store, desk: Project, placed: Placement, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    retrain(store, changed(placed, **SHORT), desk)
    assert capfd.readouterr() == ("", "")


@dataclass(frozen=True)
class SharedPlacement(Placement):
    """A placement whose models are shared at an address."""

    address: str = ""

    @property
    def library(self) -> ModelLibrary:
        return ModelLibrary.at(self.model_dir, self.address, cache_mb=100)


def test_a_candidate_is_sent_to_the_shared_folder_and_stands_where_that_fails(
    store: Store, desk: Project, placed: Placement, tmp_path: Path
) -> None:
    shared = SharedPlacement(placed.model_dir, placed.train, address=f"file://{tmp_path / 'shared'}")
    away = retrain(store, shared, desk)
    (tmp_path / "shared").mkdir()
    sent = retrain(store, shared, desk)
    assert states(store, desk) == {away.version: "candidate", sent.version: "candidate"}
    assert f"{away.version} could not be sent to the other hosts" in " ".join(away.notices)
    assert "could not be sent" not in " ".join(sent.notices)
    assert [path.name for path in (tmp_path / "shared" / "desk").iterdir()] == [sent.version]
    with store.read() as session:
        files = models(session, desk.id)[-1].files
    other = ModelLibrary.at(tmp_path / "other", shared.address, cache_mb=100)
    assert load_bundle(other.bundle(f"desk/{sent.version}", files)).manifest.version == sent.version
