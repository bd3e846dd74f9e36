"""A model folder: written under another name and renamed, so that it is whole or not there, and verified on load.

The folder holds model.onnx (what is served), tokenizer.json, labels.json, manifest.json (what the folder says of
itself, written last), and whatever else its maker lists, such as adapter/, from which the next training starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ner.confidence import CONFIDENCES
from ner.decoding import KINDS, check_costs
from ner.disk import flush, sha256
from ner.errors import BundleError, BundleUnavailableError, InputError
from ner.labels import LabelSet
from ner.models.network import Network
from ner.tokens import TextEncoder

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
LABELS = "labels.json"
MANIFEST = "manifest.json"
REQUIRED = (MODEL, TOKENIZER, LABELS)
FORMAT = 1

_REBUILD = "Train or export the model again, or roll back to another version."


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Where a model comes from, and which files it consists of.

    max_length: tokens of a window, special tokens included. confidence: a name in CONFIDENCES. created_at: ISO 8601.
    parent: the version this one was trained from, None for the base encoder. files: SHA-256 (hex) of each file, by its
    path within the folder with forward slashes. break_costs: nats by kind of joint (`ner.decoding`), {} for none.
    precision: what the served file computes in, in words; manifests from before there was a choice do not say it.
    """

    version: str
    encoder: str
    labels: tuple[str, ...]
    max_length: int
    confidence: str
    created_at: str
    data_fingerprint: str
    seed: int
    parent: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    break_costs: Mapping[str, float] = field(default_factory=dict)
    precision: str = "INT8, smoothed"
    format: int = FORMAT

    def to_json(self) -> str:
        """The manifest as it is written."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A verified model. The session and the tokenizer that were verified are those that serve."""

    path: Path
    manifest: Manifest
    labels: LabelSet
    network: Network
    encoder: TextEncoder


def write_bundle(building: Path, final: Path, manifest: Manifest) -> Manifest:
    """Seal the folder `building`, which holds model.onnx and tokenizer.json, and move it to `final`.

    Writes labels.json, hashes every file into the manifest, writes the manifest last, flushes everything to the disk,
    and renames the folder. A process that is killed before that leaves `final` untouched. Both folders are on one file
    system. Returns the manifest with its `files`. Raises BundleError when a file is missing or `final` exists.
    """
    if final.exists():
        raise BundleError("a model version is written once", value=str(final), next_step="Give it another version.")
    (building / LABELS).write_text(json.dumps(list(manifest.labels), ensure_ascii=False) + "\n", encoding="utf-8")
    missing = [name for name in REQUIRED if not (building / name).is_file()]
    if missing:
        raise BundleError(f"a model folder has {', '.join(REQUIRED)}", value=f"{building} without {missing}")
    (building / MANIFEST).unlink(missing_ok=True)
    files = {path.relative_to(building).as_posix(): sha256(path) for path in _files(building)}
    sealed = replace(manifest, files=files)
    for path in building.rglob("*"):
        flush(path)
    (building / MANIFEST).write_text(sealed.to_json(), encoding="utf-8")
    flush(building / MANIFEST)
    flush(building)
    building.rename(final)
    flush(final.parent)
    return sealed


def load_bundle(path: Path, expected_labels: Sequence[str] | None = None) -> Bundle:
    """Load a model folder and prove that it is what it says.

    Checked, each refused by a BundleError that names both values: the manifest and its format; the SHA-256 of every
    listed file, and that the required ones are listed; labels.json against the manifest, and the manifest against
    `expected_labels` (the project's, in order) when given; that the tokenizer loads; and, by running the graph on a
    full window that holds the tokenizer's largest id, that the two fit and that it gives one logit for each tag.
    Raises BundleUnavailableError where a file cannot be read now, or memory is short.
    """
    manifest = read_manifest(path)
    check_files(path, manifest)
    _check_labels(path, manifest, expected_labels)
    labels = LabelSet(manifest.labels)
    encoder = _load_encoder(path / TOKENIZER)
    network = Network(path / MODEL)
    _check_network(network, encoder, manifest, labels)
    return Bundle(path, manifest, labels, network, encoder)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder, its fields checked one by one but no other file read.

    Raises BundleError when it is malformed or of a format this code does not know, BundleUnavailableError when it is
    missing or cannot be read.
    """
    path = folder / MANIFEST
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        raise BundleUnavailableError(
            f"a model folder has a {MANIFEST}",
            value=str(folder),
            next_step="A folder without one was never finished: train or export the model again.",
        ) from None
    except OSError as error:
        raise BundleUnavailableError(f"{MANIFEST} can be read", value=str(error)) from error
    return parse_manifest(written, str(path))


def parse_manifest(written: bytes, source: str) -> Manifest:
    """The manifest in the bytes of a manifest.json that stands at `source`. Raises BundleError."""
    try:
        data = json.loads(written.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is JSON", value=f"{source}: {error}") from error
    if not isinstance(data, dict):
        raise BundleError(f"{MANIFEST} is an object", value=repr(data))
    if data.get("format") != FORMAT:
        raise BundleError(
            f"{MANIFEST} has format {FORMAT}",
            value=f"format {data.get('format')!r}",
            next_step="Use the version of this program that wrote the model, or train it again.",
        )
    return _checked(data)


def _checked(data: dict[str, Any]) -> Manifest:
    for name in ("version", "encoder", "confidence", "created_at", "data_fingerprint"):
        _require(isinstance(data.get(name), str) and data[name], name, "a string that is not empty", data)
    _require(isinstance(data.get("precision", ""), str), "precision", "a string", data)
    for name in ("max_length", "seed"):
        _require(type(data.get(name)) is int, name, "an integer", data)
    for name in ("settings", "libraries", "scores", "files", "break_costs"):
        _require(isinstance(data.get(name), dict), name, "an object", data)
    _require(data.get("parent") is None or isinstance(data["parent"], str), "parent", "a string or null", data)
    _require(isinstance(data.get("labels"), list), "labels", "a list", data)
    _require(data["max_length"] > 0, "max_length", "positive", data)
    _require(data["confidence"] in CONFIDENCES, "confidence", f"one of {', '.join(CONFIDENCES)}", data)
    _require(check_costs(data["break_costs"]), "break_costs", f"numbers from 0 on for {', '.join(KINDS)}", data)
    _require(all(isinstance(digest, str) for digest in data["files"].values()), "files", "names to SHA-256", data)
    try:
        labels = LabelSet(tuple(data["labels"])).types
    except InputError as error:
        raise BundleError(f"the labels of {MANIFEST} are entity types", value=str(error)) from error
    known = {name: data[name] for name in Manifest.__dataclass_fields__ if name in data}
    return Manifest(**{**known, "labels": labels})


def _require(holds: object, name: str, what: str, data: dict[str, Any]) -> None:
    if not holds:
        raise BundleError(f"{name!r} in {MANIFEST} is {what}", value=repr(data.get(name)))


def check_files(folder: Path, manifest: Manifest) -> None:
    """Prove that the files of a model folder are those of its manifest; raises what `load_bundle` raises."""
    unlisted = [name for name in REQUIRED if name not in manifest.files]
    if unlisted:
        raise BundleError(f"{MANIFEST} lists {', '.join(REQUIRED)}", value=f"{folder} without {', '.join(unlisted)}")
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            raise BundleError("the files of a model lie in its folder", value=name)
        if not file.is_file():
            raise BundleUnavailableError("every file of a model is there", value=str(file), next_step=_REBUILD)
        try:
            found = sha256(file)
        except OSError as error:
            raise BundleUnavailableError("every file of a model can be read", value=repr(error)) from error
        if found != expected:
            raise BundleError(
                f"the SHA-256 of {name} is that in {MANIFEST}",
                value=f"{found}, expected {expected} ({folder})",
                next_step=_REBUILD,
            )


def _check_labels(folder: Path, manifest: Manifest, expected: Sequence[str] | None) -> None:
    try:
        written = json.loads((folder / LABELS).read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleUnavailableError("every file of a model can be read", value=str(error)) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{LABELS} is JSON", value=f"{folder}: {error}") from error
    if written != list(manifest.labels):
        raise BundleError(f"{LABELS} and {MANIFEST} name the same labels", value=_both(written, manifest.labels))
    if expected is not None and list(expected) != list(manifest.labels):
        raise BundleError(
            "a model's labels are those of the project's config, in order",
            value=f"model {list(manifest.labels)}, project {list(expected)}",
            next_step="Train for the new labels with `loop retrain`, or put the config back.",
        )


def _check_network(network: Network, encoder: TextEncoder, manifest: Manifest, labels: LabelSet) -> None:
    room = manifest.max_length - encoder.num_special
    if room < 1:
        raise BundleError(
            f"a window has room beside its {encoder.num_special} special tokens", value=manifest.max_length
        )
    width = network.logits(encoder.frame([encoder.largest_id] * room)).shape[1]
    if width != len(labels.tags):
        raise BundleError(
            f"a model of {len(labels.types)} labels gives {len(labels.tags)} logits a token (O, and B and I of each)",
            value=f"output width {width}, labels {list(labels.types)}",
            next_step="The graph and the label list come from different models: export it again.",
        )


def _load_encoder(path: Path) -> TextEncoder:
    try:
        return TextEncoder(Tokenizer.from_file(str(path)))
    except Exception as error:
        kind = BundleUnavailableError if "(os error" in str(error) else BundleError  # the library has one class for all
        raise kind(f"{TOKENIZER} can be loaded", value=f"{path}: {error}", next_step=_REBUILD) from error


def _both(first: object, second: Sequence[str]) -> str:
    return f"{first!r} and {list(second)!r}"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
