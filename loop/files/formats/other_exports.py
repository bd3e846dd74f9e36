"""Exports of Label Studio that hold no texts with spans: recognised, and refused by name."""

from __future__ import annotations

from typing import Any

from loop.files.formats.json_files import JsonShape, Place
from loop.files.records import Record
from ner.errors import InputError

# Of each export the keys that its JSON has and no record with a text has.
_KINDS = (
    ("COCO, which describes images", {"images", "categories"}),
    ("YOLO, which describes images", {"categories", "info"}),
    ("ASR manifest, which describes audio", {"audio_filepath", "text"}),
)


def _kind(value: Any) -> str | None:
    return next((name for name, keys in _KINDS if isinstance(value, dict) and keys <= set(value)), None)


def _refuse(value: Any, place: Place) -> Record:
    raise InputError(
        "a file holds texts with spans",
        value=f"{place.where} is of an export as {_kind(value)}",
        next_step="Export the project as JSON from Label Studio.",
    )


SHAPE = JsonShape(
    name="other-export",
    title="(COCO, YOLO and ASR manifests are refused)",
    claims=lambda value: _kind(value) is not None,
    record=_refuse,
)
