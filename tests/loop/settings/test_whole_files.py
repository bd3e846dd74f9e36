"""A file is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop.settings.whole_files import whole_file, write_whole
from ner.errors import InputError


def test_a_file_appears_when_its_block_ends_well(tmp_path: Path):
    path = tmp_path / "out"
    with whole_file(path) as stream:
        stream.write("ä\n")
        assert not path.exists()
    assert path.read_bytes() == "ä\n".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "out"
    write_whole(path, "old")
    with pytest.raises(error), whole_file(path) as stream:
        stream.write("new")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path):
    path = tmp_path / "out"
    write_whole(path, "old")
    path.chmod(0o640)
    write_whole(path, "new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="can be written to"):
        write_whole(tmp_path / "missing" / "out", "x")
    with pytest.raises(InputError, match="can be written"):
        write_whole(tmp_path, "x")
    assert list(tmp_path.iterdir()) == []
