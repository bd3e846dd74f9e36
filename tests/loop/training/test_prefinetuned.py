"""A training from the encoder starts at the adapter that comes with the project, wherever the adapter fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from loop.promotion.promote import promote_candidate
from loop.settings.model import TrainSettings
from loop.training import lora, prefinetuned
from loop.training.encoder import load_base
from loop.training.prefinetuned import FILE, PREFINETUNED_SHA256, recorded
from loop.training.retrain import retrain
from ner.disk import sha256
from ner.errors import ConfigError
from ner.labels import LabelSet
from ner.models.bundle import load_bundle
from tests.loop import tiny
from tests.store.empty import new_store

LABELS = LabelSet(("HARDWARE", "OS"))
SETTINGS = TrainSettings()


def lora_weights(settings: TrainSettings, encoder: str = "minilm") -> dict[str, Any]:
    torch.manual_seed(1)
    base = load_base(encoder, LABELS, 24)
    weights = get_peft_model_state_dict(lora.attach(base, settings, len(LABELS.tags)), save_embedding_layers=False)
    return {name: weight for name, weight in weights.items() if "lora_" in name}


def test_the_adapter_of_a_new_model_is_the_one_of_the_file() -> None:
    weights = lora_weights(SETTINGS)
    saved = {name: weight for name, weight in load_file(FILE).items() if "lora_" in name}
    assert saved.keys() == weights.keys()
    assert all(torch.equal(weights[name], saved[name].float()) for name in saved)
    assert all(saved[name].abs().max() > 0 for name in saved)


@pytest.mark.parametrize("changed", [{"prefinetuned": False}, {"rank": 8}, {"alpha": 16}])
def test_an_adapter_starts_at_nothing_where_it_is_told_to_or_has_another_shape(changed: dict[str, Any]) -> None:
    settings = SETTINGS.changed(**changed)
    assert all(not weight.any() for name, weight in lora_weights(settings).items() if "lora_B" in name)
    assert recorded(load_base("minilm", LABELS, 24), settings) == {}


def test_much_gold_starts_at_nothing() -> None:
    base, most = load_base("minilm", LABELS, 24), prefinetuned.MOST_WINDOWS
    assert prefinetuned.fits(base, SETTINGS, most) and not prefinetuned.fits(base, SETTINGS, most + 1)
    weights = get_peft_model_state_dict(
        lora.attach(base, SETTINGS, len(LABELS.tags), most + 1), save_embedding_layers=False
    )
    assert all(not weight.any() for name, weight in weights.items() if "lora_B" in name)
    assert recorded(base, SETTINGS, most + 1) == {}


def test_an_adapter_of_another_encoder_starts_at_nothing(tmp_path: Path) -> None:
    encoder = str(tiny.encoder(tmp_path))
    assert all(not weight.any() for name, weight in lora_weights(SETTINGS, encoder).items() if "lora_B" in name)


@pytest.mark.parametrize("content", [None, b"cut short"])
def test_a_file_that_cannot_be_read_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = tmp_path / "adapter.safetensors"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(prefinetuned, "FILE", path)
    base = load_base("minilm", LABELS, 24)
    with pytest.raises(ConfigError, match=r"adapter\.safetensors.*prefinetuned = false"):
        lora.attach(base, SETTINGS, len(LABELS.tags))
    lora.attach(load_base("minilm", LABELS, 24), SETTINGS.changed(prefinetuned=False), len(LABELS.tags))


@pytest.mark.training
def test_a_model_records_the_start_of_its_training_and_a_model_that_goes_on_from_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = tiny.Placement(tmp_path / "models", tiny.train_settings(tiny.encoder(tmp_path / "encoder")))
    base = load_base(placed.train.encoder, LabelSet(tiny.LABELS), 24)
    weights = get_peft_model_state_dict(lora.attach(base, placed.train, 5))
    prefinetuned.save(weights, base, placed.train, tmp_path / "adapter.safetensors")
    monkeypatch.setattr(prefinetuned, "FILE", tmp_path / "adapter.safetensors")
    store = new_store(tmp_path / "store.db")
    made = tiny.project(store)
    tiny.put(store, made, tiny.corpus(40))
    first = retrain(store, placed, made)
    assert promote_candidate(store, placed, made, who="test").promoted
    tiny.put(store, made, tiny.corpus(44)[40:])
    second = retrain(store, placed, made)
    store.close()
    assert (first.parent, second.parent) == (None, first.version)
    starts = [load_bundle(one.path).manifest.settings.get(PREFINETUNED_SHA256) for one in (first, second)]
    assert starts == [sha256(prefinetuned.FILE), None]


def test_the_lineage_names_the_file_by_its_hash() -> None:
    assert recorded(load_base("minilm", LABELS, 24), SETTINGS) == {PREFINETUNED_SHA256: sha256(FILE)}


def test_a_saved_adapter_fits_what_it_was_trained_with_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, settings = load_base(str(tiny.encoder(tmp_path / "a")), LABELS, 24), SETTINGS.changed(rank=4)
    model = lora.attach(base, settings, len(LABELS.tags))
    prefinetuned.save(get_peft_model_state_dict(model), base, settings, tmp_path / "adapter.safetensors")
    monkeypatch.setattr(prefinetuned, "FILE", tmp_path / "adapter.safetensors")
    assert prefinetuned.fits(base, settings)
    assert not prefinetuned.fits(base, settings.changed(rank=8))
    assert not prefinetuned.fits(load_base("minilm", LABELS, 24), settings)
    known, saved = prefinetuned.classifier(base, settings), get_peft_model_state_dict(model)
    assert known is not None
    for kind, part in zip(("weight", "bias"), known, strict=True):
        [original] = [one for name, one in saved.items() if name.endswith(f"classifier.{kind}")]
        assert torch.allclose(part, original, atol=1e-3)
    assert prefinetuned.classifier(base, settings.changed(rank=8)) is None
