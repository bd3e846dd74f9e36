"""Files as people have them: packed, in archives, in folders; broken, encrypted, or made to fill a disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from loop.files.raw import inputs
from loop.files.raw.inputs import Input, open_inputs, visible_name
from loop.files.reading import Request, open_readings
from ner.errors import InputError
from tests.loop.files.read import CONFIG

LINE = b'{"text": "Greta came home."}\n'


def zipped(members: dict[str, bytes], comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = comment
    return out.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def opened(path: Path, content: bytes) -> list[tuple[str, str, bytes]]:
    """(name, stem, content) of each input of a file with this content."""
    path.write_bytes(content)
    with open_inputs(path) as inputs:
        return [(one.name, one.stem, one.rewound().read()) for one in inputs]


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(InputError) as caught, open_inputs(path):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), ("", bytes)]
)
def test_a_packed_file_is_read_by_its_content_and_named_without_the_ending(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
):
    assert opened(tmp_path / f"gold.jsonl{ending}", pack(LINE)) == [("gold.jsonl", "gold", LINE)]


def test_a_packed_file_without_an_ending_and_one_of_several_parts_are_read(tmp_path: Path):
    assert opened(tmp_path / "gold", gzip.compress(LINE) + gzip.compress(LINE)) == [("gold", "gold", LINE + LINE)]


@pytest.mark.parametrize("make", [zipped, tarred, lambda members: tarred(members, "w:gz")])
def test_each_file_of_an_archive_is_an_input_also_in_folders(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes]):
    content = make({"a/gold.jsonl": LINE, "b/täglich Nr. 2.jsonl": LINE, "empty.jsonl": b""})
    names = [(name, stem) for name, stem, _ in opened(tmp_path / "all.archive", content)]
    expected = [("a/gold.jsonl", "gold"), ("b/täglich Nr. 2.jsonl", "täglich Nr. 2"), ("empty.jsonl", "empty")]
    assert names == [(f"all.archive/{name}", stem) for name, stem in expected]


def test_a_packed_file_in_an_archive_is_unpacked_and_an_archive_in_one_is_refused(tmp_path: Path):
    assert opened(tmp_path / "a.zip", zipped({"g.jsonl.gz": gzip.compress(LINE)})) == [("a.zip/g.jsonl", "g", LINE)]
    assert "no archives: got a.zip/b.zip" in refused(tmp_path / "a.zip", zipped({"b.zip": zipped({"c": LINE})}))


def test_files_of_the_system_are_left_out_and_a_readme_is_said_to_be(tmp_path: Path):
    members = {"__MACOSX/g.jsonl": b"x", ".DS_Store": b"x", "README.md": b"# Texts", "g.jsonl": LINE}
    (tmp_path / "a.zip").write_bytes(zipped(members))
    with open_readings(tmp_path / "a.zip", Request(CONFIG)) as (reading,):
        assert reading.said == ("Not read: README.md, which tell of the other files.",)


@pytest.mark.parametrize("members", [{}, {"folder/": b""}, {".hidden": b"x"}])
def test_an_archive_without_a_file_is_refused(tmp_path: Path, members: dict[str, bytes]):
    assert "holds none" in refused(tmp_path / "a.zip", zipped(members))


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b""}, "an Excel workbook"),
        ({"[Content_Types].xml": b"<Types/>", "word/document.xml": b""}, "a Word document"),
        ({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content.xml": b""}, "an OpenDocument"),
    ],
)
def test_an_office_file_is_refused_by_name_and_not_as_an_archive(tmp_path: Path, members: dict[str, bytes], what: str):
    message = refused(tmp_path / "table.bin", zipped(members))
    assert what in message
    assert "IOB2" not in message


def test_an_encrypted_archive_is_refused_by_name(tmp_path: Path):
    content = bytearray(zipped({"gold.jsonl": LINE}))
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    assert "an archive is not encrypted" in refused(tmp_path / "a.zip", bytes(content))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "_ALWAYS", 10_000)
    bomb = zipped({"a.jsonl": b" " * 4_000_000, "b.jsonl": LINE})
    assert "unpacks to at most" in refused(tmp_path / "a.zip", bomb)
    assert "unpacks to at most" in refused(tmp_path / "a.gz", gzip.compress(b" " * 4_000_000))


@pytest.mark.parametrize("name", ["../state.json", "/state.json", "a/../../state.json"])
def test_no_name_in_an_archive_leads_out_of_the_folder_that_it_is_unpacked_to(tmp_path: Path, name: str):
    assert "leads to a place in it" in refused(tmp_path / "a.zip", zipped({name: b"{}"}))


def test_names_are_shown_and_stored_without_characters_that_cannot_be():
    assert visible_name("a\x1b[31m\nb\udcffc.jsonl") == "a?[31m?b?c.jsonl"


def test_a_folder_has_its_name_as_stem(tmp_path: Path):
    (tmp_path / "gold").mkdir()
    with open_inputs(tmp_path / "gold" / ".." / "gold") as (one,):
        assert one.stem == "gold"
        assert one.stream is None
        with pytest.raises(InputError, match="a file is read"):
            one.rewound()


@pytest.mark.parametrize(
    # gzip writes the time into its header: the names of the tests must not hold the bytes.
    "content",
    [zipped({"g.jsonl": LINE * 50}), gzip.compress(LINE * 50), tarred({"g": LINE})],
    ids=["zip", "gzip", "tar"],
)
def test_what_is_cut_off_is_refused_with_the_next_step(tmp_path: Path, content: bytes):
    cut = content[: len(content) * 2 // 3] if content[:2] != b"g\0" else content[:520]
    message = refused(tmp_path / "gold.gz", cut)
    assert "gold.gz can be unpacked" in message
    assert "fetch it again" in message


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_to_an_archive_is_refused_or_gives_its_bytes(tmp_path: Path, seed: int):
    rng = random.Random(seed)
    members = {"a/gold.jsonl": LINE * 20, "b.txt": b"Greta came home.\n" * 9}
    choices = [zipped(members), tarred(members), tarred(members, "w:gz"), bz2.compress(LINE), lzma.compress(LINE)]
    for content in choices:
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "x").write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            with open_inputs(tmp_path / "x") as inputs:
                assert all(isinstance(one, Input) for one in inputs)
        except InputError:
            pass
