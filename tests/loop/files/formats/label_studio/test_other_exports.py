"""Exports that hold no texts are refused by name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from loop.files.reading import Request, open_readings
from ner.errors import InputError
from tests.loop.files.read import CONFIG, problem, raw


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"images": [], "categories": [], "annotations": [], "info": {}}, "COCO"),
        ({"categories": [{"id": 0, "name": "LOC"}], "info": {}}, "YOLO"),
        ({"audio_filepath": "a.wav", "duration": 1.0, "text": "spoken"}, "ASR manifest"),
    ],
)
def test_a_json_of_images_or_audio_is_refused_by_name(value: object, name: str):
    assert name in str(problem(raw(value)[0]).error)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["notes.json", "classes.txt", "labels/a.txt"], "YOLO"),
        (["task-1.dclx"], "DocLang"),
        ([], "holds none"),
    ],
)
def test_an_archive_of_another_kind_and_an_empty_one_are_refused_by_name(tmp_path: Path, names: list[str], said: str):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "LOC")
    path = tmp_path / "export.zip"
    path.write_bytes(packed.getvalue())
    with pytest.raises(InputError, match=said), open_readings(path, Request(CONFIG)):
        pass
