from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ByT5Tokenizer, GPT2Config, GPT2ForTokenClassification

from loop.training import encoder
from loop.training.encoder import MINILM_PACKAGE, classifier_name, find_source, load_base, lora_targets
from ner.errors import ConfigError
from ner.labels import LabelSet
from tests.loop import tiny

LABELS = LabelSet(tiny.LABELS)
LINEAR_LAYERS = 6  # query, key, value, attention output, and two of the feed-forward part


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_lora_goes_on_every_linear_layer_of_the_encoder_and_on_nothing_else(tmp_path: Path, family: str) -> None:
    base = load_base(str(tiny.encoder(tmp_path, family)), LABELS, 24)
    targets = lora_targets(base.model)
    assert len(targets) == 2 * LINEAR_LAYERS
    assert not [name for name in targets if "classifier" in name or "pooler" in name or "embeddings" in name]
    assert classifier_name(base.model, len(LABELS.tags)) == "classifier"


def test_an_encoder_without_linear_layers_is_refused_by_name() -> None:
    model = GPT2ForTokenClassification(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(ConfigError, match="GPT2ForTokenClassification"):
        lora_targets(model)


def test_the_default_is_the_packaged_minilm_found_without_importing_its_package() -> None:
    code = f"""
import sys
from loop.training.encoder import find_source
print(find_source("minilm"))
print({MINILM_PACKAGE!r} in sys.modules, "sentence_transformers" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert Path(said[0], "model.safetensors").is_file()
    assert said[1] == "False False"


def test_a_packaged_minilm_with_other_weights_is_refused_with_both_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    published = encoder.MINILM_SHA256
    monkeypatch.setattr(encoder, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match=f"{'0' * 64}.*{published}"):
        find_source("minilm")


def test_weights_that_were_cut_short_are_refused_by_name(tmp_path: Path) -> None:
    weights = tiny.encoder(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_base(str(tmp_path), LABELS, 24)


def test_a_folder_that_is_no_encoder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_base(str(tmp_path), LABELS, 24)


def test_an_encoder_of_which_weights_are_missing_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny.encoder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    lost = "bert.encoder.layer.1.attention.self.query.weight"
    save_file({name: tensor for name, tensor in weights.items() if name != lost}, folder / "model.safetensors")
    with pytest.raises(ConfigError, match=f"lacks 1, such as {lost}"):
        load_base(str(folder), LABELS, 24)


def test_an_encoder_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = tiny.encoder(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    ByT5Tokenizer().save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"fast one.*ByT5Tokenizer"):
        load_base(str(folder), LABELS, 24)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_window_longer_than_the_encoder_reads_is_refused(tmp_path: Path, family: str) -> None:
    folder = str(tiny.encoder(tmp_path, family))
    load_base(folder, LABELS, 40)
    with pytest.raises(ConfigError, match="40 tokens: got 41"):
        load_base(folder, LABELS, 41)


def test_a_tokenizer_with_more_ids_than_the_encoder_has_embeddings_is_refused(tmp_path: Path) -> None:
    small, large = tiny.encoder(tmp_path / "small"), tiny.encoder(tmp_path / "large", "roberta-cased")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (small / name).write_bytes((large / name).read_bytes())
    with pytest.raises(ConfigError, match="embeddings"):
        load_base(str(small), LABELS, 24)


def test_the_hash_of_the_weights_is_of_the_encoder_and_not_of_its_new_classifier(tmp_path: Path) -> None:
    folder = str(tiny.encoder(tmp_path / "a"))
    first, again = (load_base(folder, LABELS, 24).sha256 for _ in range(2))
    fewer = load_base(folder, LabelSet(("OS",)), 24).sha256
    other = load_base(str(tiny.encoder(tmp_path / "b", seed=1)), LABELS, 24).sha256
    assert first == again == fewer != other


def test_dropout_is_what_the_settings_say_whatever_the_encoder_was_saved_with(tmp_path: Path) -> None:
    base = load_base(str(tiny.encoder(tmp_path, "distilbert-uncased")), LABELS, 24, dropout=0.25)
    rates = {module.p for module in base.model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.25}


def test_loading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = str(tiny.encoder(tmp_path))
    capfd.readouterr()
    load_base(folder, LABELS, 24)
    assert capfd.readouterr() == ("", "")
