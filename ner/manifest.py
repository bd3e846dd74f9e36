"""What a model folder says of itself: `manifest.json`, written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ner.boundaries import KINDS, check_costs
from ner.confidence import CONFIDENCES
from ner.errors import BundleError, BundleUnavailableError, InputError
from ner.labels import LabelSet

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Where a model comes from and which files it is.

    max_length: tokens of a window, special ones included. confidence: a name in CONFIDENCES. created_at: ISO 8601.
    parent: the version this one was trained from, None for the base encoder. files: SHA-256 (hex) of each file, by its
    path within the folder with forward slashes. break_costs: nats by kind of joint (`ner.boundaries`), {} for none.
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


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder, its fields checked one by one but no other file read.

    Raises BundleError when it is malformed or of a format this code does not know, BundleUnavailableError when it is
    missing or cannot be read.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleUnavailableError(
            f"a model folder has a {MANIFEST}",
            value=str(folder),
            next_step="A folder without one was never finished: train or export the model again.",
        ) from None
    except OSError as error:
        raise BundleUnavailableError(f"{MANIFEST} can be read", value=str(error)) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is JSON", value=f"{path}: {error}") from error
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
