"""A file or folder is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop.settings.whole_files import check_free, whole_file, whole_folder, write_whole
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


def test_a_folder_appears_when_it_is_finished_and_takes_the_place_of_an_empty_one(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as draft:
        (draft / "a").mkdir()
        (draft / "a" / "b").write_text("c")
        assert list((tmp_path / "out").iterdir()) == []
    assert (tmp_path / "out" / "a" / "b").read_text() == "c"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError("no"), OSError(28, "No space left on device")])
def test_nothing_is_left_of_a_folder_that_was_not_finished(tmp_path: Path, error: BaseException):
    told = InputError if isinstance(error, OSError) else error if isinstance(error, type) else type(error)
    with pytest.raises(told), whole_folder(tmp_path / "out") as draft:
        (draft / "a").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_known_before_anything_is_made(tmp_path: Path):
    check_free(tmp_path / "new")
    (tmp_path / "file").touch()
    for around in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(InputError, match=f"{around} can be written to: got no such folder"):
            check_free(around / "new")


def test_no_file_and_no_filled_folder_is_replaced_by_a_folder(tmp_path: Path):
    (tmp_path / "file").write_text("kept")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="no folder is overwritten"), whole_folder(taken):
            raise AssertionError("nothing is written before the place is known to be free")
    assert (tmp_path / "file").read_text() == "kept"
