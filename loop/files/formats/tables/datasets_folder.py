"""Folders of Hugging Face's `datasets`: what `save_to_disk` writes, as `loop export-data` does, and Parquet by split.

All splits are read, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loop.files.formats.json_shapes.shapes import JsonShape, open_values
from loop.files.formats.tables.parquet import class_names, parquet_batches, placed_rows, said_of_classes, translated
from loop.files.formats.tables.table_rows import columns_of
from loop.files.raw.inputs import DATASET_MARKS, Input
from loop.files.raw.json_values import PlacedValue
from loop.files.raw.lines import UNREADABLE_REST
from loop.files.records import FileFormat, Opened, Source
from ner.errors import InputError

if TYPE_CHECKING:
    import pyarrow

_MOST_LISTED = 12


@dataclass(frozen=True)
class _Table:
    """One split, or one file of a split."""

    name: str
    rows: int
    schema: pyarrow.Schema
    batches: Callable[[], Iterator[pyarrow.RecordBatch]]


def datasets_format(shapes: Sequence[JsonShape]) -> FileFormat:
    """Folders whose tables have rows of one of these shapes."""
    title = "a folder that `datasets` saved, or one of Parquet files"
    return FileFormat("datasets", title, _recognise, partial(_open, shapes))


def listed(folder: Path) -> str:
    """What a folder holds, for people: the first names in it."""
    names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in folder.iterdir())
    more = f" and {len(names) - _MOST_LISTED:,} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more if names else "nothing"


def _recognise(file: Input) -> bool:
    return file.stream is None and (_is_saved(file.path) or bool(_parquet_files(file.path)))


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in DATASET_MARKS)


def _parquet_files(folder: Path) -> list[Path]:
    """In the folder and in `data`, or in the folders of subsets, as the Hub lays them out."""
    found = [path for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern)]
    return sorted(path for path in found if not path.name.startswith("."))


def _open(shapes: Sequence[JsonShape], file: Input, source: Source) -> Opened:
    if file.stream is not None:
        raise InputError("`datasets` are folders", value=file.name, next_step="Name the folder.")
    with translated(file.name):
        tables = _saved(file.path) if _is_saved(file.path) else _of_parquet(file.path)
    said = [f"Splits in the folder: {_counts(tables)}. All are read; --split says where they go."]
    said += dict.fromkeys(
        sentence
        for table in tables
        for sentence in (columns_of(table.schema.names, source).said, *said_of_classes(class_names(table.schema)))
    )
    return open_values(partial(_values, tables, source, file.name), source, shapes, said)


def _counts(tables: Sequence[_Table]) -> str:
    counts: dict[str, int] = {}
    for table in tables:
        counts[table.name] = counts.get(table.name, 0) + table.rows
    return ", ".join(f"{name or 'one'} ({rows:,})" for name, rows in counts.items())


def _values(tables: Sequence[_Table], source: Source, name: str) -> Iterator[PlacedValue]:
    done: dict[str, int] = {}
    for table in tables:
        before = done.get(table.name, 0)
        try:
            with translated(name):
                yield from placed_rows(table.batches(), table.schema, source, partial(_place, table.name, before))
        except InputError as error:
            yield f"{UNREADABLE_REST} of {table.name or name}", error, ""
        done[table.name] = before + table.rows


def _place(split: str, before: int, number: int) -> str:
    return f"row {split}/{before + number}" if split else f"row {before + number}"


def _saved(folder: Path) -> list[_Table]:
    import datasets

    loaded: Any = datasets.load_from_disk(str(folder), keep_in_memory=False)  # else it does not name its files
    splits = loaded if isinstance(loaded, Mapping) else {"": loaded}
    return [_table(str(name), one) for name, one in splits.items()]


def _table(name: str, split: Any) -> _Table:
    files = [one["filename"] for one in split.cache_files]  # `save_to_disk` writes the rows into them in their order
    return _Table(name, len(split), split.features.arrow_schema, partial(_batches, files))


def _batches(files: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """The rows of Arrow files. They are read: `datasets` maps files into memory, and what was read stays there."""
    import pyarrow

    for path in files:
        with pyarrow.OSFile(path) as file, pyarrow.ipc.open_stream(file) as reader:
            yield from reader


def _of_parquet(folder: Path) -> list[_Table]:
    from pyarrow.parquet import ParquetFile

    tables = []
    for path in _parquet_files(folder):
        with ParquetFile(path) as parquet:
            rows, schema = parquet.metadata.num_rows, parquet.schema_arrow
        # The Hub's names: data/train-00000-of-00002.parquet, or conll/train/0000.parquet.
        relative = path.relative_to(folder)
        split = relative.parent.name if path.stem.isdigit() else path.stem.partition("-")[0]
        tables.append(_Table(split, rows, schema, partial(parquet_batches, path)))
    return tables
