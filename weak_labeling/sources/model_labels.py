"""The labels of a model as those of the project, and what a folder of a model is known by."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from ner.disk import sha256
from ner.labels import OUTSIDE
from weak_labeling.sources.entry import EntryError, SourceContext, SourceEntry, Text


class ModelEntry(SourceEntry):
    """The keys of a model in a folder.

    labels: the model's label to the project's, or to "O" for no vote. Without it, the labels of one name are the same.
    min_score: of a span, 0..1, as the model gives it.
    """

    folder: Text
    labels: dict[Text, Text] | None = None
    min_score: float = Field(0.0, ge=0, le=1)

    def used_labels(self) -> Iterator[tuple[str, str]]:
        """The labels of the project that the map names."""
        yield from (("labels", label) for label in (self.labels or {}).values() if label != OUTSIDE)

    def existing_folder(self, place: SourceContext, *files: str) -> Path:
        """The folder, which holds these files. Raises EntryError."""
        folder = place.file(self.folder)
        try:
            missing = next((name for name in files if not (folder / name).is_file()), None)
            value = f"{folder}, without {missing}" if folder.is_dir() else f"{folder}, which is no folder"
        except OSError as error:  # no file can have this path
            missing, value = files[0], f"{folder} ({error.strerror})"
        if missing is not None:
            raise EntryError(
                f"the folder of a source of kind {self.kind!r} holds {' and '.join(files)}",
                key="folder",
                value=value,
                next_step="Correct the path; it is relative to the project's folder.",
            )
        return folder

    def voting_labels(self, own: Collection[str], place: SourceContext) -> dict[str, str]:
        """The model's labels that vote, each with the project's label. Raises EntryError where there is none."""
        given = {label: label for label in own if label in place.labels} if self.labels is None else self.labels
        voting = {label: target for label, target in given.items() if target != OUTSIDE}
        for label in given:
            if label not in own:
                raise self._wrong_map("a label of `labels` is one of the model's", label, own, place)
        if not voting:
            project = ", ".join(place.labels)
            raise self._wrong_map("a label of the model stands for one of the project's", project, own, place)
        return voting

    def _wrong_map(self, rule: str, value: str, own: Collection[str], place: SourceContext) -> EntryError:
        mapped = f'labels = {{ "{next(iter(own), "X")}" = "{place.labels[0]}" }}'
        return EntryError(
            rule,
            key="labels" if self.labels is not None else "folder",
            value=value,
            next_step=f"Write {mapped}, say. The model's labels: {', '.join(own)}.",
        )


def folder_digest(folder: Path) -> str:
    """SHA-256 (hex) of the files in a folder, without those in folders below it and hidden files."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            found = path.stat()
            digest.update(f"{path.name} {_file_digest(path, found.st_size, found.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _file_digest(path: Path, _size: int, _changed: int) -> str:
    """Of a file that does not change: the service asks every few seconds, and weights are large."""
    return sha256(path)


def spread_labels(mapping: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """A map of labels in a settled order, for a digest."""
    return tuple(sorted(mapping.items()))
