"""Parquet and Arrow files, read by pyarrow a batch of rows at a time.

The names of numbers in columns such as `ner_tags` stand in the file where `datasets` wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from loop.files.formats.json_shapes.shapes import JsonShape, open_values
from loop.files.formats.tables.table_rows import columns_of
from loop.files.raw.inputs import Input
from loop.files.raw.json_values import PlacedValue
from loop.files.raw.lines import UNREADABLE_REST
from loop.files.records import FileFormat, Opened, Source
from ner.errors import InputError

if TYPE_CHECKING:
    import pyarrow

_PARQUET, _ENCRYPTED, _ARROW = b"PAR1", b"PARE", b"ARROW1"
_ARROW_STREAM = b"\xff\xff\xff\xff"
_ROWS = 1000
_BUFFER = 1 << 16  # bytes of each column that are read ahead
_SHOWN = 500


def parquet_format(shapes: Sequence[JsonShape]) -> FileFormat:
    """Parquet and Arrow files whose rows have one of these shapes."""
    return FileFormat("parquet", "a Parquet or Arrow file", _recognise, partial(_open, shapes))


def placed_rows(
    batches: Iterator[pyarrow.RecordBatch], schema: pyarrow.Schema, source: Source, place: Callable[[int], str]
) -> Iterator[PlacedValue]:
    """Each row as an object, with the place of the row of this number (from 1), and the start of what it holds."""
    columns, names = columns_of(schema.names, source), class_names(schema)
    number = 0
    for batch in batches:
        batch.validate(full=True)  # pyarrow trusts a file's offsets otherwise, and a damaged file ends the process
        for row in batch.to_pylist():
            number += 1
            try:
                cells = [_named(row[name], names.get(name)) for name in schema.names]
                value: Any = columns.value(cells)
            except InputError as error:
                value = error
            yield place(number), value, str(row)[:_SHOWN]


def parquet_batches(file: Path | BinaryIO) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a Parquet file, in batches. Memory holds a part of a row group, however big the group is."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file, buffer_size=_BUFFER) as parquet:
        yield from parquet.iter_batches(_ROWS, use_threads=False)


def class_names(schema: pyarrow.Schema) -> Mapping[str, Sequence[str]]:
    """The names of the numbers of a column, for each column of class labels, or of lists of these."""
    if not schema.metadata or b"huggingface" not in schema.metadata:
        return {}
    import datasets

    try:
        features = datasets.Features.from_arrow_schema(schema)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        step = "Write the file again with `datasets`, or without its schema metadata."
        raise InputError("the features of a table can be read", value=str(error), next_step=step) from error
    inner = {name: _innermost(feature) for name, feature in features.items()}
    return {name: one.names for name, one in inner.items() if isinstance(one, datasets.ClassLabel) and one.names}


@contextmanager
def translated(name: str) -> Iterator[None]:
    """What pyarrow raises for a broken file, as an InputError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        step = "It may be cut off or damaged: fetch it again."
        raise InputError(f"{name} can be read", value=str(error), next_step=step) from error


def _recognise(file: Input) -> bool:
    return file.head.startswith((_PARQUET, _ENCRYPTED, _ARROW, _ARROW_STREAM))


def _open(shapes: Sequence[JsonShape], file: Input, source: Source) -> Opened:
    if file.head.startswith(_ENCRYPTED):
        raise InputError("a Parquet file is not encrypted", value=file.name, next_step="Write it without encryption.")
    with translated(file.name):
        schema, _ = _opened(file)
        said = [columns_of(schema.names, source).said, *said_of_classes(class_names(schema))]
    return open_values(partial(_values, file, source), source, shapes, said)


def said_of_classes(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A sentence for each column of class labels."""
    for column, labels in names.items():
        yield f"The numbers in {column} are named in the file: {', '.join(labels)}."


def _values(file: Input, source: Source) -> Iterator[PlacedValue]:
    with translated(file.name):
        schema, batches = _opened(file)
    yield from _until_broken(placed_rows(batches, schema, source, "row {}".format), file.name)


def _until_broken(values: Iterator[PlacedValue], name: str) -> Iterator[PlacedValue]:
    """The values; the first fault in the file itself ends them."""
    try:
        with translated(name):
            yield from values
    except InputError as error:
        yield UNREADABLE_REST, error, ""


def _opened(file: Input) -> tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]:
    import pyarrow
    import pyarrow.parquet

    stream = file.rewound()
    if file.head.startswith(_PARQUET):
        return pyarrow.parquet.read_schema(stream), parquet_batches(file.rewound())
    if file.head.startswith(_ARROW):
        whole = pyarrow.ipc.open_file(stream)
        return whole.schema, (whole.get_batch(number) for number in range(whole.num_record_batches))
    reader = pyarrow.ipc.open_stream(stream)
    return reader.schema, iter(reader)


def _innermost(feature: Any) -> Any:
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif hasattr(feature, "feature"):
            feature = feature.feature
        else:
            return feature


def _named(value: Any, names: Sequence[str] | None) -> Any:
    """The value with its numbers as names; a number without a name stays a number."""
    if names is None:
        return value
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    return names[value] if type(value) is int and 0 <= value < len(names) else value
