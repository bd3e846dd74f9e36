from __future__ import annotations

import hashlib
import json
import os
import resource
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ner.errors import BundleError, BundleUnavailableError
from ner.labels import LabelSet
from ner.models.bundle import MANIFEST, Manifest, load_bundle, read_manifest, write_bundle
from ner.models.network import Network
from tests.fakes import tiny_bundle, tiny_graph, tiny_tokenizer

LABELS = ("OS", "VERSION")
WORDS = {"windows": "OS", "10": "VERSION"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "it-0001", LABELS, WORDS, version="it-0001")


def edit_manifest(folder: Path, **fields: Any) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(data | fields))


def accept_hashes(folder: Path) -> None:
    """Make the manifest list the files as they now are, so that only the later checks can refuse them."""
    names = read_manifest(folder).files
    edit_manifest(folder, files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names})


def test_a_bundle_comes_back_as_it_was_written(folder: Path) -> None:
    bundle = load_bundle(folder, LABELS)
    assert (bundle.path, bundle.manifest.version, bundle.labels) == (folder, "it-0001", LabelSet(LABELS))
    assert set(bundle.manifest.files) == {"model.onnx", "tokenizer.json", "labels.json"}
    assert bundle.manifest.files["labels.json"] == hashlib.sha256((folder / "labels.json").read_bytes()).hexdigest()


def test_files_in_folders_are_hashed_too_and_the_building_folder_is_gone(tmp_path: Path, folder: Path) -> None:
    building = tmp_path / ".building"
    folder.rename(building)
    (building / "adapter").mkdir()
    (building / "adapter" / "adapter.bin").write_bytes(b"weights")
    sealed = write_bundle(building, tmp_path / "next", replace(read_manifest(building), version="it-0002"))
    assert sealed.files["adapter/adapter.bin"] == hashlib.sha256(b"weights").hexdigest()
    assert MANIFEST not in sealed.files
    assert not building.exists()
    assert load_bundle(tmp_path / "next").manifest == sealed


def test_a_version_is_written_once(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(BundleError, match="written once"):
        tiny_bundle(folder, LABELS, WORDS)


def test_a_bundle_without_a_required_file_is_not_written(tmp_path: Path, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"without \['tokenizer.json'\]"):
        write_bundle(folder, tmp_path / "final", read_manifest(folder))
    assert not (tmp_path / "final").exists()


@pytest.mark.parametrize("interrupted", ["fsync", "rename"])
def test_a_write_that_dies_leaves_nothing_under_the_final_name(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ner.disk.os.fsync" if interrupted == "fsync" else "pathlib.Path.rename", die)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(folder, tmp_path / "final", read_manifest(folder))
    assert not (tmp_path / "final").exists()


def test_everything_is_on_the_disk_before_the_folder_gets_its_name(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr("ner.models.bundle.flush", lambda path: events.append(path.name))
    rename = Path.rename

    def recorded(self: Path, target: Path) -> Path:
        events.append("rename")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", recorded)
    write_bundle(folder, tmp_path / "final", read_manifest(folder))
    before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
    assert set(before) == {"model.onnx", "tokenizer.json", "labels.json", MANIFEST, folder.name}
    assert before[-2:] == [MANIFEST, folder.name]
    assert after == [tmp_path.name]


def test_a_folder_without_a_manifest_was_never_finished(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(BundleError, match="never finished"):
        load_bundle(folder)


@pytest.mark.parametrize(("content", "rule"), [("{", "is JSON"), ("[]", "is an object"), ("{}", "format 1.*None")])
def test_a_manifest_that_cannot_be_read_is_refused(folder: Path, content: str, rule: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match=rule):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", ""),
        ("encoder", None),
        ("max_length", "128"),
        ("max_length", True),
        ("max_length", 0),
        ("seed", 1.5),
        ("parent", 3),
        ("labels", "OS"),
        ("files", ["model.onnx"]),
        ("files", {"model.onnx": 1}),
        ("settings", None),
        ("break_costs", None),
        ("break_costs", {"word": -1}),
        ("confidence", "gut_feeling"),
        ("precision", 8),
    ],
)
def test_a_manifest_field_of_the_wrong_kind_is_named(folder: Path, field: str, value: object) -> None:
    edit_manifest(folder, **{field: value})
    with pytest.raises(BundleError, match=f"'{field}'"):
        load_bundle(folder)


def test_a_manifest_from_before_there_was_a_choice_of_precision_is_of_smoothed_int8(folder: Path) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    del data["precision"]
    (folder / MANIFEST).write_text(json.dumps(data))
    assert load_bundle(folder).manifest.precision == "INT8, smoothed"


def test_a_format_of_the_future_is_refused_with_both_numbers(folder: Path) -> None:
    edit_manifest(folder, format=2)
    with pytest.raises(BundleError, match="has format 1: got format 2"):
        load_bundle(folder)


def test_a_manifest_of_impossible_labels_is_refused(folder: Path) -> None:
    edit_manifest(folder, labels=["OS", "OS"])
    with pytest.raises(BundleError, match="unique"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "labels.json"])
def test_a_file_with_another_hash_is_refused_with_both_hashes(folder: Path, name: str) -> None:
    expected = read_manifest(folder).files[name]
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    with pytest.raises(BundleError, match=f"{name}.*{found}, expected {expected}"):
        load_bundle(folder)


def test_a_truncated_onnx_file_is_refused(folder: Path) -> None:
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:200])
    with pytest.raises(BundleError, match=r"SHA-256 of model.onnx"):
        load_bundle(folder)
    accept_hashes(folder)
    with pytest.raises(BundleError, match="an ONNX file can be loaded"):
        load_bundle(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"is there.*model\.onnx"):
        load_bundle(folder)


def test_a_file_that_the_disk_does_not_give_says_nothing_about_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", broken)
    with pytest.raises(BundleUnavailableError, match="Input/output error"):
        load_bundle(folder)


def test_too_many_open_files_say_nothing_about_the_model(folder: Path) -> None:
    limits, opened = resource.getrlimit(resource.RLIMIT_NOFILE), list[int]()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 256), limits[1]))
    try:
        with suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(BundleUnavailableError):
            Network(folder / "model.onnx")
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_required_file_that_no_hash_covers_is_refused(folder: Path) -> None:
    files = dict(read_manifest(folder).files)
    edit_manifest(folder, files={name: digest for name, digest in files.items() if name != "model.onnx"})
    with pytest.raises(BundleError, match=r"without model\.onnx"):
        load_bundle(folder)


def test_a_listed_file_outside_the_folder_is_refused(folder: Path) -> None:
    (folder.parent / "secret").write_text("x")
    edit_manifest(folder, files={"../secret": "0", **read_manifest(folder).files})
    with pytest.raises(BundleError, match=r"lie in its folder.*\.\./secret"):
        load_bundle(folder)


def test_labels_other_than_the_manifests_are_refused_with_both(folder: Path) -> None:
    (folder / "labels.json").write_text('["VERSION", "OS"]')
    accept_hashes(folder)
    with pytest.raises(BundleError, match=r"\['VERSION', 'OS'\] and \['OS', 'VERSION'\]"):
        load_bundle(folder)


@pytest.mark.parametrize("expected", [("OS",), ("VERSION", "OS"), ("OS", "VERSION", "ERROR")])
def test_labels_other_than_the_projects_are_refused_with_both(folder: Path, expected: tuple[str, ...]) -> None:
    with pytest.raises(BundleError) as refusal:
        load_bundle(folder, expected)
    assert str(list(LABELS)) in str(refusal.value)
    assert str(list(expected)) in str(refusal.value)


def test_a_two_class_head_under_a_longer_label_list_is_refused_with_both(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "m", LABELS, WORDS, width=2)
    with pytest.raises(BundleError, match=r"2 labels gives 5 logits.*output width 2, labels \['OS', 'VERSION'\]"):
        load_bundle(folder)


def test_a_swapped_tokenizer_is_refused(folder: Path) -> None:
    other = tiny_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{n}" for n in range(50))])
    other.save(str(folder / "tokenizer.json"))
    with pytest.raises(BundleError, match=r"SHA-256 of tokenizer.json"):
        load_bundle(folder)
    accept_hashes(folder)
    with pytest.raises(BundleError, match="ids up to 53"):
        load_bundle(folder)


def test_a_tokenizer_that_is_none_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": "none"}')
    accept_hashes(folder)
    with pytest.raises(BundleError, match=r"tokenizer\.json can be loaded"):
        load_bundle(folder)


def test_a_window_without_room_for_a_token_is_refused(folder: Path) -> None:
    edit_manifest(folder, max_length=2)
    with pytest.raises(BundleError, match="room"):
        load_bundle(folder)


def replace_graph(folder: Path, table: np.ndarray[Any, Any], **options: Any) -> None:
    tiny_graph(folder / "model.onnx", table, **options)
    accept_hashes(folder)


def test_a_model_whose_logits_are_not_finite_is_refused(folder: Path) -> None:
    replace_graph(folder, np.full((6, 5), np.nan))
    with pytest.raises(BundleError, match="finite"):
        load_bundle(folder)


def test_a_model_with_an_input_nobody_feeds_is_refused(folder: Path) -> None:
    replace_graph(folder, np.zeros((6, 5)), inputs=("input_ids", "pixel_values"))
    with pytest.raises(BundleError, match="pixel_values"):
        load_bundle(folder)


@pytest.mark.parametrize("inputs", [("input_ids",), ("input_ids", "attention_mask", "token_type_ids")])
def test_the_inputs_a_graph_has_are_the_ones_it_is_fed(folder: Path, inputs: tuple[str, ...]) -> None:
    replace_graph(folder, np.zeros((6, 5)), inputs=inputs)
    assert load_bundle(folder).network.logits([2, 3]).shape == (2, 5)


def test_a_manifest_survives_its_json(folder: Path) -> None:
    manifest = Manifest(
        version="x-1",
        encoder="minilm",
        labels=LABELS,
        max_length=128,
        confidence="mnlp",
        created_at="2026-01-01T00:00:00Z",
        data_fingerprint="f",
        seed=1,
        parent="x-0",
        settings={"rank": 16},
        scores={"dev": {"f1": 5 / 6}},
    )
    (folder / MANIFEST).write_text(manifest.to_json())
    assert read_manifest(folder) == manifest
