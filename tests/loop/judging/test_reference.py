"""The FP32 reference beside a served file: rebuilt from its adapter, measured apart, refused where it is another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from loop.judging.ask import ask_fp32
from loop.judging.contract import WrongFileError
from loop.judging.fp32_process import InTorch, Rebuilt, measure, rebuild, recorded_settings
from loop.judging.fp32_process import tag as tag_in_fp32
from loop.training import lora
from loop.training.encoder import load_base
from loop.training.retrain import retrain
from ner.errors import BundleError, RuleError
from ner.models.bundle import MODEL, TOKENIZER, Bundle, load_bundle, write_bundle
from ner.spans import Span
from tests.loop import tiny
from tests.store.empty import new_store

pytestmark = pytest.mark.training

TEXTS = ("my Windows crashes on start 80", "nothing happens today 81", "why does Outlook ask for a password? 82")
WINDOWS, OUTLOOK = Span(3, 10, "OS"), Span(9, 16, "SOFTWARE")
LONG = " and ".join(TEXTS * 3)  # several windows


@dataclass(frozen=True)
class Candidate:
    """A trained bundle, and the tiny encoder that it was trained from."""

    path: Path
    encoder: Path


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    home = tmp_path_factory.mktemp("candidate")
    encoder = tiny.encoder(home / "encoder")
    store = new_store(home / "store.db")
    desk = tiny.project(store)
    tiny.put(store, desk, tiny.corpus(40))
    made = retrain(store, tiny.Placement(home / "models", tiny.train_settings(encoder)), desk)
    store.close()
    return Candidate(made.path, encoder)


@pytest.fixture
def bundle(candidate: Candidate) -> Bundle:
    return load_bundle(candidate.path)


@pytest.fixture
def rebuilt(candidate: Candidate, bundle: Bundle, tmp_path: Path) -> Rebuilt:
    base = load_base(str(candidate.encoder), bundle.labels, bundle.manifest.max_length)
    return rebuild(bundle, base, recorded_settings(bundle.manifest), tmp_path)


def request(candidate: Candidate, workspace: Path, **changed: object) -> dict[str, Any]:
    asked = {"bundle": str(candidate.path), "encoder": str(candidate.encoder), "texts": TEXTS, "timed": 0}
    return {**asked, "workspace": str(workspace), "threads": 1, "seed": 1, **changed}


def refusal(asked: dict[str, Any]) -> str:
    with pytest.raises(RuleError) as refused:
        measure(asked)
    assert not isinstance(refused.value, WrongFileError)
    return str(refused.value)


def resealed(
    candidate: Candidate, to: Path, change: Callable[[Path], object] = lambda folder: None, **manifest: Any
) -> Candidate:
    """A copy of the bundle in which something was changed before it was hashed."""
    draft = to.with_name("draft")
    shutil.copytree(candidate.path, draft)
    change(draft)
    write_bundle(draft, to, replace(load_bundle(candidate.path).manifest, **manifest))
    return replace(candidate, path=to)


def plain(spans: Sequence[Span]) -> list[Span]:
    return [span.without_score() for span in spans]


def test_a_manifest_whose_settings_no_training_could_have_is_refused(bundle: Bundle) -> None:
    wrong = replace(bundle.manifest, settings={**bundle.manifest.settings, "rank": 0})
    with pytest.raises(BundleError, match="records settings of a training"):
        recorded_settings(wrong)


def test_the_process_gives_spans_speeds_and_sizes_of_the_candidate(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import atexit; atexit.register(print, 'chatter of a library')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = ask_fp32(candidate.path, str(candidate.encoder), TEXTS, timed=3)
    assert found.error is None
    assert [plain(spans) for spans in found.spans] == [[WINDOWS], [], [OUTLOOK]]
    assert [speed.runtime for speed in found.speeds] == ["torch FP32", "ONNX FP32", "ONNX INT8"]
    in_torch, fp32, int8 = found.speeds
    assert in_torch.size_mb is None
    assert int8.size_mb == (candidate.path / MODEL).stat().st_size / 1e6
    assert fp32.size_mb is not None and fp32.size_mb > int8.size_mb
    for speed in found.speeds:
        assert 0 < speed.latency_ms <= speed.latency_p95_ms
        assert speed.documents_per_second > 0
        assert (speed.texts, speed.threads) == (3, 1)
    saved = load_file(candidate.path / lora.ADAPTER / lora.WEIGHTS)
    assert found.trainable_parameters == sum(weight.numel() for weight in saved.values())


def test_torch_alone_torch_in_a_padded_batch_and_the_fp32_file_find_the_same(bundle: Bundle, rebuilt: Rebuilt) -> None:
    texts = [LONG, *TEXTS]
    in_torch = InTorch(bundle, rebuilt)
    in_fp32 = tag_in_fp32(bundle, rebuilt, texts, threads=2)
    alone: Any = [in_torch.one(text) for text in texts]
    together: Any = in_torch.several(texts)
    assert len(in_fp32[0]) > 3
    for one, other, third in zip(alone, together, in_fp32, strict=True):
        assert plain(one.spans) == plain(other.spans) == plain(third)


def test_the_merged_model_is_what_was_trained_and_as_large_as_its_base(
    candidate: Candidate, bundle: Bundle, rebuilt: Rebuilt
) -> None:
    base = load_base(str(candidate.encoder), bundle.labels, bundle.manifest.max_length)
    assert rebuilt.total_parameters == sum(weight.numel() for weight in base.model.parameters())
    saved = load_file(candidate.path / lora.ADAPTER / lora.WEIGHTS)
    [head] = [weight for name, weight in saved.items() if name.endswith("classifier.weight")]
    assert torch.equal(rebuilt.model.classifier.weight, head)


def test_a_manifest_s_own_encoder_is_loaded_by_name_or_folder(candidate: Candidate, bundle: Bundle) -> None:
    assert bundle.manifest.encoder == str(candidate.encoder)


def test_an_encoder_with_other_weights_is_refused_with_both_hashes(candidate: Candidate, tmp_path: Path) -> None:
    other = tiny.encoder(tmp_path / "other", seed=5)
    said = refusal(request(candidate, tmp_path, encoder=str(other)))
    recorded = load_bundle(candidate.path).manifest.settings["encoder_sha256"]
    assert "the base encoder has the SHA-256" in said
    assert f"recorded {recorded}" in said


def test_a_bundle_with_another_tokenizer_than_its_encoder_is_shown_to_be_wrong(
    candidate: Candidate, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(candidate.encoder, other)
    tokenizer = json.loads((other / TOKENIZER).read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (other / TOKENIZER).write_text(json.dumps(tokenizer))
    served = load_bundle(candidate.path).manifest.files[TOKENIZER]
    with pytest.raises(WrongFileError, match=f"contract, tokenizer hash.*{served[:16]}"):
        measure(request(candidate, tmp_path, encoder=str(other)))


def cut_classifier(folder: Path) -> None:
    """Two classes instead of five."""
    path = folder / lora.ADAPTER / lora.WEIGHTS
    weights = load_file(path)
    save_file({name: weight[:2].clone() if "classifier" in name else weight for name, weight in weights.items()}, path)


def drop_classifier(folder: Path) -> None:
    path = folder / lora.ADAPTER / lora.WEIGHTS
    save_file({name: weight for name, weight in load_file(path).items() if "classifier" not in name}, path)


def drop_layer(folder: Path) -> None:
    path = folder / lora.ADAPTER / lora.WEIGHTS
    weights = load_file(path)
    del weights[next(name for name in weights if "lora_A" in name)]
    save_file(weights, path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut_classifier, "classifier gives 5 logits, as many as there are tags: got 2"),
        (drop_classifier, "classifier gives 5 logits, as many as there are tags: got it has none"),
        (drop_layer, "every weight of an adapter arrives"),
        (lambda folder: shutil.rmtree(folder / lora.ADAPTER), "a candidate carries its adapter"),
    ],
)
def test_an_adapter_that_is_not_whole_is_refused(
    candidate: Candidate, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    assert said in refusal(request(resealed(candidate, tmp_path / "sealed", change), tmp_path))


def test_a_manifest_that_does_not_record_its_encoder_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    assert "without alpha, encoder_sha256" in refusal(
        request(resealed(candidate, tmp_path / "sealed", settings={"rank": 4}), tmp_path)
    )


def test_an_adapter_that_was_changed_since_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(candidate.path, copy)
    cut_classifier(copy)
    assert "SHA-256 of adapter/adapter_model.safetensors" in refusal(request(replace(candidate, path=copy), tmp_path))


def test_an_encoder_that_is_gone_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    said = refusal(request(candidate, tmp_path, encoder=str(empty)))
    assert said.startswith("an encoder is a model that transformers loads")
