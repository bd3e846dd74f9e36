"""Parquet and Arrow files, and folders of `datasets`, our own export among them."""

from __future__ import annotations

import io
import json
import random
import zipfile
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from loop.files.formats.known import find_format
from loop.files.raw.inputs import open_inputs
from loop.files.reading import LabelRule, Request, check_record, open_readings
from loop.files.records import FileHints, Problem, Record, Source
from loop.files.writing.datasets_folder import write_datasets
from loop.files.writing.texts import StoredText, TaggedText
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span
from tests.loop.files.read import CONFIG, as_input, problem, raw, record, spans

GRETA = {"start": 0, "end": 5, "label": "PER"}
ROWS = [
    {"id": "a", "text": "Greta came.", "spans": [GRETA], "source": "mail", "number": 3},
    {"id": "b", "text": "Nobody came.", "spans": [], "source": None, "number": None},
    {"id": "c", "text": "Who came?", "spans": None, "source": None, "number": 4},
]


def parquet(rows: list[dict[str, Any]], schema: pyarrow.Schema | None = None, **how: Any) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), out, **how)
    return out.getvalue()


def arrow(rows: list[dict[str, Any]], kind: Any) -> bytes:
    out = io.BytesIO()
    table = pyarrow.Table.from_pylist(rows)
    with kind(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def read_folder(path: Path) -> list[Record | Problem]:
    with open_inputs(path) as (file,):
        return list(find_format(file).open(file, Source(file.stem, CONFIG)).records())


def exported(count: int = 3) -> list[TaggedText]:
    """Texts as they stand in the store, with what tags alone cannot say."""
    texts = [
        StoredText(
            "a", "  Greta's  bag 李雷", (Span(2, 4, "PER"), Span(15, 17, "PER")), "train", "d1", {"n": 1, "x": [2]}
        ),
        StoredText("b", "Nobody came.", (), "train"),
        *(StoredText(f"c{n}", f"Peter {n}", (Span(0, 5, "PER"),), "holdout") for n in range(count - 2)),
    ]
    return [TaggedText.of(one) for one in texts]


@pytest.mark.parametrize(
    "content", [parquet(ROWS), arrow(ROWS, pyarrow.ipc.new_file), arrow(ROWS, pyarrow.ipc.new_stream)]
)
def test_columns_of_texts_and_spans_are_read(content: bytes):
    first, second, third = raw(content)
    assert (spans(first), spans(second), spans(third)) == ((Span(0, 5, "PER"),), (), None)
    assert (record(first).external_id, record(first).meta) == ("a", {"source": "mail", "number": 3})
    assert (record(second).where, record(second).meta) == ("row 2", {})


def test_spans_as_datasets_keeps_sequences_of_objects_are_read():
    columns = {"text": ["Greta came.", "None"], "spans": [{"start": [0], "end": [5], "label": ["PER"]}, None]}
    first, second = raw(parquet(pyarrow.table(columns).to_pylist()))
    assert (spans(first), spans(second)) == ((Span(0, 5, "PER"),), None)


def test_values_of_other_types_are_kept_as_json_or_refused_by_name():
    row = {"text": "Greta", "when": datetime(2024, 5, 6), "price": Decimal("1.50"), "nan": float("nan")}
    (item,) = raw(parquet([row]))
    assert record(item).meta == {"when": "2024-05-06T00:00:00", "price": "1.50"}
    assert "`raw` holds text" in str(problem(raw(parquet([{"text": "Greta", "raw": b"\0"}]))[0]).error)


def test_a_null_text_is_named_and_a_number_is_a_text():
    first, second = raw(parquet([{"text": None, "id": 1}, {"text": "x", "id": 2}]))
    assert "null" in str(problem(first).error)
    assert record(second).external_id == "2"
    assert record(raw(parquet([{"text": 3.0}]))[0]).text == "3"


NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TAGGED = {"tokens": ["Greta", "Berg", "came"], "ner_tags": [1, 2, 0], "pos_tags": [7, 7, 8], "id": "0"}


def hugging_face(rows: list[dict[str, Any]], tmp_path: Path) -> bytes:
    """As `Dataset.to_parquet` writes it: the names of the numbers stand in the metadata of the schema."""
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=NAMES)),
            "pos_tags": datasets.List(datasets.Value("int64")),
            "id": datasets.Value("string"),
        }
    )
    datasets.Dataset.from_list(rows, features).to_parquet(tmp_path / "hf.parquet")
    return (tmp_path / "hf.parquet").read_bytes()


def test_the_names_of_numbers_stand_in_the_file_where_datasets_wrote_it(tmp_path: Path):
    content = hugging_face([TAGGED, {**TAGGED, "ner_tags": [0, 0, 3], "id": "1"}], tmp_path)
    first, second = raw(content)
    assert (record(first).text, spans(first)) == ("Greta Berg came", (Span(0, 10, "PER"),))
    assert spans(second) == (Span(11, 15, "LOC"),)
    (tmp_path / "a.parquet").write_bytes(content)
    with open_readings(tmp_path / "a.parquet", Request(CONFIG)) as (one,):
        assert "The numbers in ner_tags are named in the file: O, B-PER, I-PER, B-LOC, I-LOC." in one.said


def test_numbers_without_names_are_refused_and_named_on_the_command_line():
    assert "--label-names" in str(problem(raw(parquet([TAGGED]))[0]).error)
    (item,) = raw(parquet([TAGGED]), hints=FileHints(labels=tuple(NAMES)))
    assert spans(item) == (Span(0, 10, "PER"),)


def test_columns_of_tokens_and_tags_can_be_named():
    row = {"wordlist": ["Greta", "came"], "found": ["B-PER", "O"]}
    (item,) = raw(parquet([row]), hints=FileHints(columns=("wordlist", "found")))
    assert spans(item) == (Span(0, 5, "PER"),)


def test_a_folder_of_tokens_and_tags_is_read(tmp_path: Path):
    path = tmp_path / "hf.parquet"
    path.write_bytes(hugging_face([TAGGED], tmp_path))
    loaded = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    datasets.DatasetDict({"train": loaded, "test": loaded}).save_to_disk(str(tmp_path / "both"))
    items = read_folder(tmp_path / "both")
    assert [spans(item) for item in items] == [(Span(0, 10, "PER"),)] * 2
    assert record(items[0]).meta == {}


def test_named_columns_hold_the_texts_and_the_spans():
    content = parquet([{"body": "Greta came.", "found": [GRETA]}])
    assert spans(raw(content, hints=FileHints(columns=("body", "found")))[0]) == (Span(0, 5, "PER"),)
    with pytest.raises(InputError, match="the columns body, found"):
        raw(content)


def test_an_encrypted_file_and_a_cut_off_one_are_refused():
    with pytest.raises(InputError, match="not encrypted"):
        raw(b"PARE" + bytes(20))
    with pytest.raises(InputError, match="cut off or damaged"):
        raw(parquet(ROWS)[:-9])


@pytest.mark.parametrize("seed", range(60))
def test_any_damage_gives_records_problems_or_an_error(seed: int):
    rng = random.Random(seed)
    for content in (parquet(ROWS), arrow(ROWS, pyarrow.ipc.new_stream)):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
        try:
            items = raw(bytes(damaged))
        except InputError:
            continue
        assert all(isinstance(item, Record | Problem) for item in items)


@pytest.mark.parametrize("scheme", ["iob2", "bilou"])
@pytest.mark.parametrize("packed", [False, True])
def test_our_own_export_comes_back_with_its_ids_groups_meta_and_exact_spans(tmp_path: Path, scheme: str, packed: bool):
    write(tmp_path / "gold", exported(), scheme)
    path = zipped(tmp_path / "gold") if packed else tmp_path / "gold"
    found = {one.external_id: check_record(one, LabelRule(CONFIG)) for one in map(record, read_folder(path))}
    for one in exported():
        source, got = one.source, found[one.source.external_id]
        assert (got.text, got.group, got.meta) == (source.text, source.group, source.meta)
        assert got.annotations[0].spans == source.spans


def test_all_splits_of_a_folder_are_read_and_said_and_the_folder_of_one_is_read_alone(tmp_path: Path):
    write(tmp_path / "gold", exported())
    with open_readings(tmp_path / "gold", Request(CONFIG)) as (reading,):
        assert "Splits in the folder: train (2), holdout (1). All are read; --split says where they go." in reading.said
        assert [record(item).where for item in reading.records()] == ["row train/1", "row train/2", "row holdout/1"]
    with open_readings(tmp_path / "gold" / "holdout", Request(CONFIG)) as (reading,):
        assert [record(item).external_id for item in reading.records()] == ["c0"]


def test_a_split_of_several_files_is_read_whole_also_where_datasets_holds_tables_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = [{"text": f"Greta came {number} times.", "spans": [GRETA]} for number in range(2500)]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "gold"), num_shards=3)
    monkeypatch.setattr(datasets.config, "IN_MEMORY_MAX_SIZE", 1 << 30)
    items = read_folder(tmp_path / "gold")
    assert [record(item).text for item in items] == [row["text"] for row in rows]
    assert record(items[-1]).where == "row 2500"


def test_an_export_whose_tags_were_changed_is_refused_beside_its_old_spans(tmp_path: Path):
    rows = [{"text": "Greta came", "tokens": ["Greta", "came"], "token_offsets": [[0, 5], [6, 10]], "spans": [GRETA]}]
    rows[0]["ner_tags"] = ["B-PER", "O"]
    assert spans(raw(parquet(rows))[0]) == (Span(0, 5, "PER"),)
    rows[0]["ner_tags"] = ["B-LOC", "O"]
    assert "the same as the tags" in str(problem(raw(parquet(rows))[0]).error)


def test_a_folder_as_the_hub_lays_it_out_is_read(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    for number in range(2):
        (tmp_path / "data" / f"train-0000{number}-of-00002.parquet").write_bytes(
            parquet([{**row, "id": f"{row['id']}{number}"} for row in ROWS])
        )
    assert [record(item).where for item in read_folder(tmp_path)] == [f"row train/{n}" for n in range(1, 7)]


def test_a_folder_of_other_files_is_refused_with_what_it_holds(tmp_path: Path):
    (tmp_path / "gold.jsonl").write_text("{}")
    (tmp_path / "more").mkdir()
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path)
    assert "which holds gold.jsonl, more/" in str(caught.value)


def test_a_damaged_folder_is_an_error_or_a_problem(tmp_path: Path):
    write(tmp_path / "gold", exported())
    table = next((tmp_path / "gold" / "train").glob("*.arrow"))
    whole = table.read_bytes()
    for content in (b"", whole[:40], whole[: len(whole) // 2], b"x" * 300):
        table.write_bytes(content)
        with pytest.raises(InputError):
            read_folder(tmp_path / "gold")
    (tmp_path / "gold" / "dataset_dict.json").write_text(json.dumps({"splits": ["gone"]}))
    with pytest.raises(InputError):
        read_folder(tmp_path / "gold")


def test_a_file_of_another_kind_is_no_folder_of_datasets():
    with pytest.raises(InputError, match="are folders"):
        raw("x", "datasets")
    with pytest.raises(InputError, match="can be read"):
        raw("text\n", "parquet")
    assert find_format(as_input(parquet(ROWS), "x.jsonl")).name == "parquet"


def test_features_that_were_never_numbers_stay_as_they_are(tmp_path: Path):
    table = datasets.Dataset.from_list([{"text": "Greta came.", "source": 1}])
    features = table.features.copy()
    features["source"] = datasets.ClassLabel(names=["mail", "web"])
    table.cast(features).save_to_disk(str(tmp_path / "one"))
    assert record(read_folder(tmp_path / "one")[0]).meta == {"source": "web"}


def write(out: Path, texts: list[TaggedText], scheme: str = "iob2") -> None:
    write_datasets(out, [replace(one) for one in texts], LabelSet(CONFIG.labels), scheme)


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for one in sorted(folder.rglob("*")):
            archive.write(one, one.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("key", ["spans", "entities"])
def test_spans_in_a_string_are_refused_by_name(key: str):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"text": "Greta came.", key: json.dumps([GRETA])}]), out)
    (read,) = raw(out.getvalue())
    assert "a string that holds JSON" in str(problem(read).error)
