"""Freed memory goes back to the system, when there is enough of it."""

from __future__ import annotations

import pytest

from ml_backend.models.memory import Trimmer, resident


def test_memory_is_given_back_once_the_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    size = [100 * 2**20]
    monkeypatch.setattr("ml_backend.models.memory.resident", lambda: size[0])
    trimmer = Trimmer()
    assert trimmer.trim()
    size[0] += 16 * 2**20 - 1
    assert not trimmer.trim()
    size[0] += 1
    assert trimmer.trim()
    assert not trimmer.trim()


def test_memory_is_given_back_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("ml_backend.models.memory.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("ml_backend.models.memory.resident", lambda: 100 * 2**20)
    trimmer = Trimmer()
    assert [trimmer.trim(), trimmer.trim()] == [True, False]
    clock[0] += 60.0
    assert [trimmer.trim(), trimmer.trim()] == [True, False]


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_backend.models.memory.ctypes.CDLL", lambda _: object())
    assert not Trimmer().trim()


def test_the_resident_size_is_counted_in_bytes() -> None:
    before = resident()
    block = b"x" * (64 * 2**20)
    assert resident() - before > 32 * 2**20
    del block
