"""The wrong file is offered: refused by name before it can be promoted, and the incumbent serves on.

Each candidate is a copy of a trained one with one thing wrong. `sealed`: its hashes are right all the same, in the
manifest and in the store, as they would be if the export itself had gone wrong.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from loop.judging.ask import Reference, ask_fp32
from loop.promotion.promote import promote_candidate
from loop.training.lora import ADAPTER
from loop.training.retrain import retrain
from ner.errors import BundleError
from ner.models.bundle import MANIFEST, MODEL, TOKENIZER, load_bundle
from ner.tagger import Tagger
from store import registry
from store.database.schema import Project
from store.database.session import Store
from store.registry import finish_model, start_model
from store.runs import begin_run, finish_run
from tests.loop import tiny
from tests.loop.tiny import Placement
from tests.store.empty import new_store

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("judged_here")]

TAGS = 1 + 2 * len(tiny.LABELS)
TEXT = "my Windows crashes on start 80"
Damage = Callable[[Path], None]
ANSWERS: dict[object, Reference] = {}


@dataclass(frozen=True)
class Desk:
    """A project whose incumbent was trained on its gold, and promoted."""

    store: Store
    project: Project
    placed: Placement
    incumbent: str

    @property
    def served(self) -> Path:
        return self.placed.model_dir / "desk" / self.incumbent

    def offer(self, damage: Damage, *, sealed: bool) -> str:
        """A candidate that is a copy of the incumbent with this damage."""
        with self.store.transaction() as tx:
            run = begin_run(tx, self.project.id, "retrain")
            trained = registry.model(tx.session, self.incumbent)
            made = start_model(
                tx,
                self.project.id,
                run_id=run.id,
                encoder=trained.encoder,
                seed=1,
                settings=trained.settings,
                libraries={},
                data_fingerprint="0" * 64,
            )
            folder = self.placed.model_dir / made.path
            shutil.copytree(self.served, folder)
            name(folder, made.version)
            files = json.loads((folder / MANIFEST).read_text())["files"]
            damage(folder)
            finish_model(tx, made.version, files=seal(folder) if sealed else files)
            finish_run(tx, run.id)
            tx.commit()
        return made.version

    def refusal(self, damage: Damage, *, sealed: bool = True, state: str = "failed") -> str:
        """Why the candidate is refused; the incumbent is in service, and answers, as before."""
        version = self.offer(damage, sealed=sealed)
        with pytest.raises(BundleError) as refused:
            promote_candidate(self.store, self.placed, self.project, version, who="lead")
        with self.store.read() as session:
            promoted = registry.promoted(session, self.project.id)
            assert promoted is not None
            assert promoted.version == self.incumbent
            assert registry.model(session, version).state == state
            assert {row.action for row in registry.promotions(session, self.project.id) if row.version == version} == (
                {"reject"} if state == "failed" else set()
            )
        assert Tagger(load_bundle(self.served)).tag(TEXT).spans
        return str(refused.value)


def name(folder: Path, version: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"version": version}))


def seal(folder: Path) -> dict[str, str]:
    """Write the hashes of the files as they are into the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = {key: hashlib.sha256((folder / key).read_bytes()).hexdigest() for key in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest | {"files": files}))
    return files


def ask_fp32_once(folder: Path, encoder: str, texts: Sequence[str], **asked: Any) -> Reference:
    """The process's own answer. Copies with one adapter and one tokenizer have one answer, for which it runs once."""
    given = (*(file.read_bytes() for file in sorted((folder / ADAPTER).iterdir())), (folder / TOKENIZER).read_bytes())
    key = hashlib.sha256(b"".join(given)).hexdigest(), tuple(texts), encoder
    if key not in ANSWERS:
        ANSWERS[key] = ask_fp32(folder, encoder, texts, **asked)
    return ANSWERS[key]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("wrong-files")
    store = new_store(home / "store.db")
    project = tiny.project(store)
    tiny.put(store, project, tiny.corpus(80)[:40])
    tiny.put(store, project, [(f"{text}!", spans) for text, spans in tiny.corpus(80)[40:]], "holdout")
    settings = tiny.train_settings(tiny.encoder(home / "encoder"))
    placed = Placement(home / "models", settings, promotion=tiny.PROMOTION.changed(reference=True))
    trained = retrain(store, placed, project)
    patch = pytest.MonkeyPatch()
    patch.setattr("loop.judging.evidence.ask_fp32", ask_fp32_once)
    attempt = promote_candidate(store, placed, project, who="lead").attempt
    assert attempt.outcome == "promoted", attempt.reason
    names = [gate.name for gate in attempt.gates]
    assert names == ["the file is what was trained", "the served file says what FP32 says"]
    yield Desk(store, project, placed, trained.version)
    patch.undo()
    store.close()


def weights(folder: Path) -> onnx.ModelProto:
    return onnx.load(str(folder / MODEL))


def corrupt_scales(folder: Path) -> None:
    graph = weights(folder)
    scales = [item for item in graph.graph.initializer if item.name.endswith("_scale")]
    assert scales
    for item in scales:
        values = numpy_helper.to_array(item)
        item.CopyFrom(numpy_helper.from_array((values * 37).astype(values.dtype), item.name))
    onnx.save(graph, str(folder / MODEL))


def lose_head(folder: Path) -> None:
    """The classifier as it is before any training: small random numbers."""
    graph, random = weights(folder), np.random.default_rng(1)
    heads = [item for item in graph.graph.initializer if item.dims and item.dims[-1] == TAGS]
    assert heads
    for item in heads:
        values = numpy_helper.to_array(item)
        fresh = random.normal(0, 0.02, values.shape)
        if values.dtype != np.float32:
            fresh = random.integers(-127, 127, values.shape)
        item.CopyFrom(numpy_helper.from_array(fresh.astype(values.dtype), item.name))
    onnx.save(graph, str(folder / MODEL))


def through_gather(folder: Path, columns: list[int], width: int) -> None:
    """The logits' columns in another order, or fewer of them."""
    graph = weights(folder)
    output = graph.graph.output[0]
    for node in graph.graph.node:
        node.output[:] = ["before" if one == output.name else one for one in node.output]
    graph.graph.initializer.append(numpy_helper.from_array(np.array(columns, dtype=np.int64), "columns"))
    graph.graph.node.append(onnx.helper.make_node("Gather", ["before", "columns"], [output.name], axis=2))
    output.type.tensor_type.shape.dim[-1].dim_value = width
    onnx.save(graph, str(folder / MODEL))


def permute_outputs(folder: Path) -> None:
    """B-OS and I-OS where B-SOFTWARE and I-SOFTWARE are read."""
    through_gather(folder, [0, 3, 4, 1, 2], TAGS)


def two_class_head(folder: Path) -> None:
    through_gather(folder, [0, 1], 2)


def permute_label_list(folder: Path) -> None:
    swapped = list(reversed(tiny.LABELS))
    (folder / "labels.json").write_text(json.dumps(swapped))
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"labels": swapped}))


def swap_tokenizer(folder: Path) -> None:
    """One with the same words under other numbers."""
    tokenizer = json.loads((folder / TOKENIZER).read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = [word for word in vocabulary if not word.startswith("[")]
    numbers = [vocabulary[word] for word in words]
    vocabulary |= dict(zip(words, reversed(numbers), strict=True))
    (folder / TOKENIZER).write_text(json.dumps(tokenizer))


def truncate(folder: Path) -> None:
    whole = (folder / MODEL).read_bytes()
    (folder / MODEL).write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (corrupt_scales, "contract, model hash"),
        (lose_head, "contract, model hash"),
        (permute_outputs, "contract, model hash"),
        (two_class_head, "contract, model hash"),
        (truncate, "contract, model hash"),
        (swap_tokenizer, "contract, tokenizer hash"),
        (permute_label_list, "contract, hash of labels.json"),
    ],
)
def test_a_file_that_changed_after_its_training_is_refused_by_its_hash(desk: Desk, damage: Damage, named: str) -> None:
    assert desk.refusal(damage, sealed=False).startswith(named)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (corrupt_scales, "contract, INT8 against FP32"),
        (lose_head, "contract, INT8 against FP32"),
        (permute_outputs, "contract, INT8 against FP32"),
        (two_class_head, "contract, output width"),
        (swap_tokenizer, "contract, tokenizer hash"),
        (truncate, "contract, model file"),
    ],
)
def test_a_file_that_was_made_wrong_is_refused_although_every_hash_is_right(
    desk: Desk, damage: Damage, named: str
) -> None:
    assert desk.refusal(damage).startswith(named)


def test_a_label_list_in_another_order_is_refused_and_may_fit_again(desk: Desk) -> None:
    assert desk.refusal(permute_label_list, state="candidate").startswith("contract, label list")


def test_a_folder_that_is_away_says_nothing_about_the_model(desk: Desk) -> None:
    desk.refusal(lambda folder: (folder / MODEL).unlink(), sealed=False, state="candidate")


def test_a_manifest_that_was_written_anew_does_not_hide_a_changed_file(desk: Desk) -> None:
    def reseal(folder: Path) -> None:
        lose_head(folder)
        seal(folder)

    assert desk.refusal(reseal, sealed=False).startswith("contract, model hash")


def test_a_whole_file_passes_the_same_checks(desk: Desk) -> None:
    version = desk.offer(lambda folder: None, sealed=True)
    attempt = promote_candidate(desk.store, desk.placed, desk.project, version, who="lead").attempt
    assert [check.holds for check in attempt.contract] == [True] * len(attempt.contract)
    names = [check.name for check in attempt.contract]
    assert {"version", "model hash", "tokenizer hash", "label list", "opset", "output width"} <= set(names)
    assert attempt.outcome == "promoted"  # it says what the model in service says
