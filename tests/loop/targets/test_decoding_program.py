"""decoding.py, which travels with a model, finds what the tagger finds: any tokenizer, any text, any logits."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from loop.targets.source import ModelSource, SampledText
from loop.targets.target import write_decoding
from ner.alignment import as_offsets
from ner.arrays import Logits
from ner.decoding import KINDS, joint_kinds
from ner.labels import LabelSet
from ner.models.bundle import TOKENIZER, Bundle, Manifest
from ner.tokens import TextEncoder
from tests.loop.tiny import FAMILIES, LABELS, corpus, encoder

TEXTS = (
    "my Windows crashes",
    "Excel",
    "a-b c.d:e  f\n\tg'h",
    "  Ubuntu, \u00a0 macOS!  ",
    "我在Windows，Excel 用 node.js。ไทยUbuntuไทย, Docker에서 ｶﾞ",
    "naïve 😀 Docker … 12.5% \u200b x",
    " ".join(text for text, _ in corpus(9)),
)


@pytest.mark.parametrize(
    "costs",
    [{}, {"word": 3.5, "punctuation": 1.0, "gap": 0.1}, {"inside": 2.5, "word": 9.0}],
    ids=["free", "costs", "inside"],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_program_finds_what_the_tagger_finds(tmp_path: Path, family: str, costs: dict[str, float]):
    source = make_source(tmp_path, family, costs)
    write_decoding(source, tmp_path)
    entities = runpy.run_path(str(tmp_path / "decoding.py"))["entities"]
    expected = [[(span.start, span.end, span.label) for span in spans] for spans in source.decoded(any_logits)]
    found = [[(s["start"], s["end"], s["label"]) for s in entities(text, any_logits)] for text in TEXTS]
    assert found == expected
    assert sum(map(len, expected)) > 20


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("program")
    write_decoding(make_source(folder, "roberta-cased", {}), folder)
    return runpy.run_path(str(folder / "decoding.py"))


TOKEN = st.text("aé1.-用。กี에\u200b🙂", min_size=1, max_size=3)


@given(st.lists(st.tuples(TOKEN, st.sampled_from(["", "", "", " "]), st.integers(1, 2)), min_size=1, max_size=12))
def test_the_program_sees_the_joints_that_the_tagger_sees(
    program: dict[str, Any], tokens: list[tuple[str, str, int]]
) -> None:
    text, bounds = "", []
    for token, blank, times in tokens:  # the bytes of one character share its place
        bounds += [(len(text), len(text) + len(token))] * (times if len(token) == 1 else 1)
        text += token + blank
    assert program["joints"](text, bounds) == [KINDS[kind] for kind in joint_kinds(text, as_offsets(bounds))]


def test_a_text_of_nothing_but_white_space_has_no_entities(tmp_path: Path):
    write_decoding(make_source(tmp_path, "roberta-cased", {}), tmp_path)
    entities = runpy.run_path(str(tmp_path / "decoding.py"))["entities"]
    assert [entities(text, any_logits) for text in ("", " ", "\n\t ")] == [[], [], []]


def any_logits(ids: Sequence[int]) -> Logits:
    """Logits that look random, and are the same for the same ids."""
    return np.random.default_rng(list(ids)).normal(scale=2.0, size=(len(ids), 5)).astype(np.float32)


def make_source(folder: Path, family: str, costs: dict[str, float]) -> ModelSource:
    """A source of that tokenizer, with windows of 12 tokens and no network."""
    encoder(folder, family)
    fields: dict[str, Any] = {"version": "v", "encoder": "e", "created_at": "now", "data_fingerprint": "0", "seed": 0}
    manifest = Manifest(**fields, labels=LABELS, max_length=12, confidence="minimum_margin", break_costs=costs)
    tokenizer = TextEncoder(Tokenizer.from_file(str(folder / TOKENIZER)))
    bundle = Bundle(folder, manifest, LabelSet(LABELS), cast(Any, SimpleNamespace()), tokenizer)
    return ModelSource(bundle, "e", "v", [SampledText("", text) for text in TEXTS], folder)
