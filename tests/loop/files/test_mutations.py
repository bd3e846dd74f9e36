"""Corrupted files of every format: each is refused, reported, or read as the same gold. `scripts/mutate_files.py` tries
more of them and shows the shares.
"""

from __future__ import annotations

import pytest

from scripts.files.sample_files import FORMATS, SampleFormat, format_named
from scripts.mutate_files import CRASH, EQUAL, ERROR, OTHER_TRUTH, REPORT, SILENT, corrupted

MUTATIONS, SEED = 25, 13


@pytest.mark.parametrize("unspaced", [False, True], ids=["words", "characters"])
@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_no_corruption_changes_gold_without_a_word(one: SampleFormat, unspaced: bool):
    number = 11 if unspaced else MUTATIONS
    results = list(corrupted(one, number, SEED, unspaced=unspaced))
    assert len(results) == number
    assert not [result for result in results if result.outcome in (SILENT, CRASH)]


def test_a_change_of_gold_that_nobody_reports_would_be_seen(monkeypatch: pytest.MonkeyPatch):
    doccano = format_named("doccano")
    assert {result.outcome for result in corrupted(doccano, 40, SEED)} <= {ERROR, REPORT, EQUAL}
    monkeypatch.setattr("loop.files.audit.suspicions", lambda text, spans: [])
    unreported = {result.kind for result in corrupted(doccano, 40, SEED) if result.outcome in (SILENT, OTHER_TRUTH)}
    assert "offsets shifted" in unreported
