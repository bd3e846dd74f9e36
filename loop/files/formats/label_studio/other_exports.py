"""Exports of Label Studio that hold no texts with spans: recognised, and refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from loop.files.formats.json_shapes.shapes import JsonShape, Place
from loop.files.formats.label_studio.export_json import EXPORT_AS_JSON
from loop.files.records import Record
from ner.errors import InputError

# Of each export the keys that its JSON has and no record with a text has.
_KINDS = (
    ("COCO, which describes images", {"images", "categories"}),
    ("YOLO, which describes images", {"categories", "info"}),
    ("ASR manifest, which describes audio", {"audio_filepath", "text"}),
)
# Of each export the names that its archive has.
_ARCHIVES = (
    ("YOLO, which describes images", {"classes.txt", "notes.json"}),
    ("COCO, which describes images", {"result_coco.json"}),
)


def refuse_other_exports(names: Sequence[str]) -> None:
    """Raise InputError where the files of an archive are an export that holds no texts."""
    short = {PurePosixPath(name).name for name in names}
    kinds = [(kind, wanted) for kind, wanted in _ARCHIVES if wanted <= short]
    kinds += [("DocLang", {name}) for name in short if name.endswith(".dclx")]
    for kind, wanted in kinds:
        found = f"an export as {kind}: it holds {' and '.join(sorted(wanted))}"
        raise InputError("an archive holds texts with spans", value=found, next_step=EXPORT_AS_JSON)


def _kind(value: Any) -> str | None:
    return next((name for name, keys in _KINDS if isinstance(value, dict) and keys <= set(value)), None)


def _refuse(value: Any, place: Place) -> Record:
    raise InputError(
        "a file holds texts with spans",
        value=f"{place.where} is of an export as {_kind(value)}",
        next_step=EXPORT_AS_JSON,
    )


SHAPE = JsonShape(
    name="other-export",
    title="(COCO, YOLO and ASR manifests are refused)",
    claims=lambda value: _kind(value) is not None,
    record=_refuse,
)
