"""`loop export-model`: each folder is loaded as its users load it, and says what `loop predict` says."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import re
import runpy
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load_file, save_file

from loop.cli.export_model import TargetName, export_model
from loop.targets import proof
from loop.targets.export import TARGETS
from loop.targets.transformers_folder import BOUND
from ner.models.bundle import load_bundle
from tests.loop.targets import triton_config
from tests.loop.targets.exported import FIRST_HELD_OUT, LAST, LONG, Trained, loop, train
from tests.loop.tiny import LABELS, corpus
from tests.loop.tiny import encoder as tiny_encoder

pytestmark = pytest.mark.training

TEXTS = [
    "my Windows crashes on start",
    "nothing happens today",
    "  after the update Excel is slow, again\nplease install Docker for me  ",
    LONG,
]
CARD_PARTS = ("Use", "Proof", "Scores", "Data", "Limits", "Licence", "Lineage")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def predicted(trained: Trained) -> list[list[dict[str, object]]]:
    found = trained.predicted(TEXTS)
    assert [bool(spans) for spans in found] == [True, False, True, True]
    return found


def test_the_command_names_every_target():
    assert [one.value for one in TargetName] == list(TARGETS)


def test_the_help_and_the_readme_tell_the_bounds_that_hold():
    bounds = [f"{round(100 * bound)}" for bound in (proof.EXACT, proof.OTHER_PRECISION, BOUND)]
    assert re.findall(r"(\d+)\s+percent", export_model.__doc__ or "") == bounds
    readme = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    told = readme[readme.index("folder is written only if") :]
    assert re.findall(r"(\d+) %", told[: told.index("exit code")]) == bounds


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_compared_with_loop_predict_on_the_projects_texts(trained: Trained, target: str):
    total, *parts = trained.comparisons(target)
    assert "against loop predict" in total["what"]
    assert (total["texts"], total["holds"]) == (LAST + 1, True)
    assert total["spans"] > 150
    assert total["differing"] == total["missing"] + total["added"]
    exact = [part for part in parts if part["bound"] is not None]
    assert [part["differing"] for part in exact] == [0] * len(exact)
    assert bool(exact) is (target != "onnx")


def test_the_onnx_example_needs_no_package_of_this_project_and_says_the_same(
    trained: Trained, predicted: list[list[dict[str, object]]]
):
    from loop.targets.onnx_folder import run_example
    from loop.targets.source import ModelSource, SampledText

    folder = trained.out / "onnx"
    imported = {
        name.split(".")[0]
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        for name in ([one.name for one in getattr(node, "names", [])] if isinstance(node, ast.Import) else [])
        + ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "tokenizers", "decoding"}
    assert len((folder / "example.py").read_text("utf-8").splitlines()) <= 22
    bundle = load_bundle(trained.desk / "models" / "desk" / trained.answer["version"])
    source = ModelSource(bundle, "", "desk", [SampledText("", text) for text in TEXTS], trained.desk)
    answers = [
        [{"start": span.start, "end": span.end, "label": span.label} for span in spans]
        for spans in run_example(source, folder)
    ]
    assert answers == predicted
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "decoding.json", "decoding.py", "example.py", "labels.json", "model.onnx", "tokenizer.json",
    ]  # fmt: skip


def test_the_pipeline_of_transformers_finds_entity_groups(trained: Trained, predicted: list[list[dict[str, object]]]):
    from transformers import pipeline

    find = pipeline("token-classification", model=str(trained.out / "transformers"), aggregation_strategy="simple")
    assert list(find.model.config.id2label.values()) == ["O", "B-OS", "I-OS", "B-SOFTWARE", "I-SOFTWARE"]
    groups = [
        [{"start": one["start"], "end": one["end"], "label": one["entity_group"]} for one in find(text)]
        for text in TEXTS[:2]
    ]
    assert groups == predicted[:2]
    whole, cut = (len(find(LONG, **options)) for options in ({"stride": 5}, {}))
    assert 0 < cut < whole
    assert "longer texts" in trained.comparisons("transformers")[-1]["what"]
    assert trained.comparisons("transformers")[-1]["differing"] > 0


def test_the_transformers_example_finds_what_the_project_finds(
    trained: Trained,
    predicted: list[list[dict[str, object]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder = trained.out / "transformers"
    monkeypatch.delitem(sys.modules, "decoding", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps({"text": text}) + "\n" for text in TEXTS)))
    runpy.run_path(str(folder / "example.py"))
    assert [json.loads(line)["spans"] for line in capsys.readouterr().out.splitlines()] == predicted


def test_peft_loads_the_adapter_onto_its_base_and_onto_no_other(trained: Trained, tmp_path: Path):
    folder = trained.out / "adapter"
    base = json.loads((folder / "base.json").read_text("utf-8"))
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert base["name"] == config["base_model_name_or_path"] == "encoder"
    assert str(trained.desk.parent) not in "".join(path.read_text("utf-8") for path in folder.glob("*.json"))
    load = runpy.run_path(str(folder / "load.py"))["load"]
    model = load(str(trained.encoder))
    assert "LoraModel" in type(model.base_model).__name__
    with pytest.raises(SystemExit, match="is not the base of this adapter"):
        load(str(tiny_encoder(tmp_path / "other", seed=1)))


def test_triton_can_read_the_configuration_and_batch_the_graph(trained: Trained):
    repository = trained.out / "triton"
    config = triton_config.parse((repository / "desk" / "config.pbtxt").read_text("utf-8"))
    read = [(one.name, one.data_type, list(one.dims)) for one in [*config.input, *config.output]]
    assert read == [
        ("input_ids", triton_config.INT64, [-1]),
        ("attention_mask", triton_config.INT64, [-1]),
        ("logits", triton_config.FP32, [-1, 5]),
    ]
    assert (config.name, config.backend, config.max_batch_size) == ("desk", "onnxruntime", 32)
    assert config.HasField("dynamic_batching")
    assert config.version_policy.latest.num_versions == 1
    label_file = repository / "desk" / config.output[0].label_filename
    assert label_file.read_text("utf-8").split() == ["O", "B-OS", "I-OS", "B-SOFTWARE", "I-SOFTWARE"]
    session = onnxruntime.InferenceSession(repository / "desk" / "1" / "model.onnx")
    ids, mask = np.array([[2, 9, 10, 3, 0, 0], [2, 9, 10, 11, 12, 3]]), np.array([[1] * 4 + [0] * 2, [1] * 6])
    batch = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
    alone = session.run(["logits"], {"input_ids": ids[:1, :4], "attention_mask": mask[:1, :4]})[0]
    np.testing.assert_allclose(batch[0, :4], alone[0], atol=1e-5)


def test_the_ensemble_goes_from_a_text_of_any_length_to_its_spans(
    trained: Trained, predicted: list[list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
):
    repository = trained.out / "triton"
    configs = {
        path.parent.name: triton_config.parse(path.read_text("utf-8")) for path in repository.glob("*/config.pbtxt")
    }
    whole = configs["desk_text"]
    assert [step.model_name for step in whole.ensemble_scheduling.step] == ["desk_tokenizer", "desk", "desk_decoder"]
    for step in whole.ensemble_scheduling.step:
        of_model = configs[step.model_name]
        assert {one.key for one in step.input_map} == {one.name for one in of_model.input}
        assert {one.key for one in step.output_map} == {one.name for one in of_model.output}
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", _fake_triton())
    monkeypatch.setattr(sys, "path", list(sys.path))
    tokenizer, decoder = (_step(repository / f"desk_{name}", monkeypatch) for name in ("tokenizer", "decoder"))
    session = onnxruntime.InferenceSession(repository / "desk" / "1" / "model.onnx")
    for text, expected in zip(TEXTS, predicted, strict=True):
        given = np.array([text.encode("utf-8")], dtype=np.object_)
        [read] = tokenizer.execute([{"TEXT": given}])
        logits = session.run(["logits"], read)[0]
        [said] = decoder.execute([{"TEXT": given, "logits": logits}])
        assert json.loads(said["SPANS"][0]) == expected


@pytest.mark.parametrize("target", TARGETS)
def test_the_card_is_what_the_hub_reads_and_shows_no_text(trained: Trained, target: str):
    written = (trained.out / target / "README.md").read_text("utf-8")
    card = ModelCard(written)
    data = card.data.to_dict()
    assert (data["license"], data["language"], data["pipeline_tag"]) == ("apache-2.0", "en", "token-classification")
    assert target in data["tags"]
    [f1] = [one for one in card.data.eval_results if one.metric_type == "f1"]
    status = json.loads(loop(trained.desk, "status", "--json")[1])
    assert f1.metric_value == pytest.approx(status["model"]["f1"]["micro"], abs=1e-4)
    assert [line[3:] for line in written.splitlines() if line.startswith("## ")] == list(CARD_PARTS)
    assert all(f"| `{name}` |" in written for name in LABELS)
    assert json.loads((trained.out / "adapter" / "base.json").read_text("utf-8"))["sha256"] in written
    assert "80" in written  # labelled texts that were learned from
    words = [text for text, _ in corpus(LAST)]
    everything = [path.read_bytes() for path in (trained.out / target).rglob("*") if path.is_file()]
    assert not any(text.encode() in content for text in words[FIRST_HELD_OUT:] for content in everything)


def test_a_place_that_is_taken_is_refused_and_left_alone(trained: Trained, tmp_path: Path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("kept")
    code, _, said = loop(trained.desk, "export-model", str(tmp_path / "taken"), "--target", "onnx")
    assert (code, "no folder is overwritten" in said) == (4, True)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine"]


def test_one_target_fills_an_empty_out_itself_and_the_table_is_shown(trained: Trained, tmp_path: Path):
    (tmp_path / "out").mkdir()
    code, shown, said = loop(trained.desk, "export-model", str(tmp_path / "out"), "--target", "onnx", "--texts", "7")
    assert code == 0, said
    assert (tmp_path / "out" / "example.py").is_file()
    assert "onnx: writing" in said
    assert "example.py against loop predict" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_says_something_else_is_not_written_unless_that_is_allowed(trained: Trained, tmp_path: Path):
    desk = tmp_path / "desk"
    shutil.copytree(trained.desk, desk)
    _spoil_adapter(desk / "models" / "desk" / trained.answer["version"])
    words = ("export-model", str(tmp_path / "out"), "--target", "adapter", "--json")
    code, said, _ = loop(desk, *words)
    assert code == 9
    assert "spans of adapter differ" in json.loads(said)["error"]["rule"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["desk"]
    code, said, _ = loop(desk, *words, "--allow-differences")
    assert (code, json.loads(said)["targets"][0]["comparisons"][0]["holds"]) == (0, False)
    assert (tmp_path / "out" / "load.py").is_file()


def test_without_a_model_in_service_the_export_says_what_to_do(trained: Trained, tmp_path: Path):
    assert loop(tmp_path, "init", str(tmp_path / "new"), "--labels", "A,B")[0] == 0
    code, _, said = loop(tmp_path / "new", "export-model", str(tmp_path / "out"), "--target", "onnx")
    assert (code, "loop promote" in said) == (9, True)


def _spoil_adapter(bundle: Path) -> None:
    """Turn the adapter's classifier round, and seal the bundle again: its ONNX file is of another training now."""
    weights = bundle / "adapter" / "adapter_model.safetensors"
    tensors = {name: -value if "classifier" in name else value for name, value in load_file(weights).items()}
    save_file(tensors, weights)
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    manifest["files"]["adapter/adapter_model.safetensors"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def _imported(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delitem(sys.modules, "decoding", raising=False)
    return _imported(folder / "1" / "model.py").TritonPythonModel()


def _fake_triton() -> types.ModuleType:
    """What Triton gives its Python models: here a request and an answer are arrays by name."""
    module: Any = types.ModuleType("triton_python_backend_utils")
    module.get_input_tensor_by_name = lambda request, name: types.SimpleNamespace(as_numpy=lambda: request[name])
    module.Tensor = lambda name, value: (name, value)
    module.InferenceResponse = lambda output_tensors: dict(output_tensors)
    return module  # type: ignore[no-any-return]
