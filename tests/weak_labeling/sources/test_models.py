"""Sources that are models: their labels become the project's, their spans are exact, and a wrong folder is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ner.arrays import FloatArray, IntArray
from ner.errors import InputError
from ner.spans import Span
from tests.fakes import tiny_bundle
from weak_labeling.loading import LoadedSources, load_sources
from weak_labeling.source import Fault
from weak_labeling.sources.entry import SourceTools
from weak_labeling.sources.token_classes import TokenClasses, labels_of_tags

LABELS = ("SOFTWARE", "OS")
WORDS = {"excel": "APP", "windows": "OS", "debian": "OS", "acme": "ORG"}


def load(home: Path, entry: str, **tools: Any) -> LoadedSources:
    path = home / "weak.toml"
    path.write_text(f'[[source]]\nname = "m"\n{entry}\n')
    return load_sources(home, functions=None, weak_file=path, labels=LABELS, tools=SourceTools(**tools))


def only(loaded: LoadedSources) -> Any:
    assert loaded.problems == ()
    return loaded.sources[0]


def complaint(loaded: LoadedSources) -> str:
    assert loaded.sources == ()
    return str(loaded.problems[0])


def test_a_bundle_votes_in_the_labels_of_the_project_above_its_least_score(tmp_path: Path):
    tiny_bundle(tmp_path / "other", ("APP", "OS", "ORG"), WORDS, certainty={"debian": 0.2})
    source = only(
        load(tmp_path, 'kind = "bundle"\nfolder = "other"\nlabels = {APP = "SOFTWARE", OS = "OS", ORG = "O"}')
    )
    texts = ["Excel on Windows", "ACME has Debian", " "]
    found = [[Span(0, 5, "SOFTWARE"), Span(9, 16, "OS")], [Span(9, 15, "OS")], []]
    assert source.find_all(texts) == found
    strict = only(load(tmp_path, 'kind = "bundle"\nfolder = "other"\nmin_score = 0.7'))
    assert strict.find_all(texts) == [[Span(9, 16, "OS")], [], []]
    assert strict.digest != source.digest


def test_the_digest_of_a_bundle_is_that_of_its_files_and_settings(tmp_path: Path):
    entry = 'kind = "bundle"\nfolder = "{}"'
    for name, words in (("a", WORDS), ("b", WORDS), ("c", {"excel": "OS"})):
        tiny_bundle(tmp_path / name, ("OS",), dict.fromkeys(words, "OS"), version=name)
    digests = [only(load(tmp_path, entry.format(name))).digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_a_text_that_no_model_reads_is_a_fault_and_the_others_are_answered(tmp_path: Path):
    tiny_bundle(tmp_path / "other", ("OS",), {"windows": "OS"})
    answers = only(load(tmp_path, 'kind = "bundle"\nfolder = "other"')).find_all(["a\0b", "Windows"])
    assert "U+0000" in answers[0].reason
    assert answers[1] == [Span(0, 7, "OS")]


WRONG = {
    "no folder": (
        'kind = "bundle"\nfolder = "gone"',
        "line 4: the folder of a source of kind 'bundle' holds manifest.json",
    ),
    "a label the model lacks": (
        'kind = "bundle"\nfolder = "other"\nlabels = {GPE = "OS"}',
        "line 5: a label of `labels` is one of the model's: got GPE",
    ),
    "a label the project lacks": (
        'kind = "bundle"\nfolder = "other"\nlabels = {APP = "TOOL"}',
        "line 5: a source votes for a label of the label config: SOFTWARE, OS: got TOOL",
    ),
    "no common label": (
        'kind = "bundle"\nfolder = "apart"',
        'Write labels = { "APP" = "SOFTWARE" }, say. The model\'s labels: APP.',
    ),
    "no tags": ('kind = "transformers"\nfolder = "bare"', "config.json of a token classifier names its tags"),
    "no library": ('kind = "gliner"\nfolder = "bare"', "pip install --no-deps gliner=="),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_model_that_cannot_be_a_source_is_named_by_line_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
):
    monkeypatch.setattr("weak_labeling.sources.gliner.find_spec", lambda name: None)
    tiny_bundle(tmp_path / "other", ("APP", "OS"), {"excel": "APP"})
    tiny_bundle(tmp_path / "apart", ("APP",), {"excel": "APP"})
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text('{"id2label": {"1": "B-X"}}')
    entry, said = WRONG[what]
    assert said in complaint(load(tmp_path, entry))


SCHEMES: dict[str, tuple[Sequence[str], Sequence[str], list[str]]] = {
    "BIO": (("O", "B-OS", "I-OS"), ("B-OS", "I-OS", "B-OS", "O"), ["Red Hat", "Debian"]),
    "IOB1": (("O", "B-OS", "I-OS"), ("I-OS", "I-OS", "B-OS", "O"), ["Red Hat", "Debian"]),
    "IO": (("O", "I-OS"), ("I-OS", "I-OS", "O", "I-OS"), ["Red Hat", "falls"]),
    "bare": (("O", "OS"), ("OS", "OS", "O", "O"), ["Red Hat"]),
    "BILOU": (("O", "B-OS", "I-OS", "L-OS", "U-OS"), ("B-OS", "L-OS", "U-OS", "O"), ["Red Hat", "Debian"]),
    "BIOES": (("O", "B-OS", "I-OS", "E-OS", "S-OS"), ("B-OS", "E-OS", "S-OS", "O"), ["Red Hat", "Debian"]),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tags_of_every_scheme_become_the_same_spans(scheme: str):
    tags, said, found = SCHEMES[scheme]
    text = "Red Hat Debian falls"
    offsets = np.array([[0, 3], [4, 7], [8, 14], [15, 20]])
    spans = TokenClasses.of(tags, {"OS": "OS"}).spans(text, certain(tags, said), offsets)
    assert [text[span.start : span.end] for span in spans] == found


def certain(tags: Sequence[str], said: Sequence[str], sure: float = 0.9) -> FloatArray:
    """(n, t) with `sure` for the tag that is said."""
    probs = np.full((len(said), len(tags)), (1 - sure) / (len(tags) - 1))
    for row, tag in enumerate(said):
        probs[row, tags.index(tag)] = sure
    return probs


def test_a_word_has_the_tag_of_its_first_piece_and_is_never_cut():
    tags = ("O", "B-OS", "I-OS")
    probs = certain(tags, ("B-OS", "O", "B-OS", "O"))
    offsets = np.array([[0, 3], [3, 6], [6, 7], [7, 10]])  # Deb ian . 東京a
    spans = TokenClasses.of(tags, {"OS": "OS"}).spans("Debian.東京a", probs, offsets)
    assert [(span.start, span.end) for span in spans] == [(0, 6), (6, 7)]


def test_labels_that_become_one_add_up_and_the_score_is_theirs_together():
    tags = ("O", "I-LOC", "I-GPE", "I-ORG")
    probs = np.array([[0.4, 0.3, 0.3, 0.0]])
    voting = {"LOC": "PLACE", "GPE": "PLACE"}
    (span,) = TokenClasses.of(tags, voting).spans("Oslo", probs, np.array([[0, 4]]))
    assert (span.label, span.score) == ("PLACE", pytest.approx(0.6))
    assert labels_of_tags(tags) == ("LOC", "GPE", "ORG")


def test_a_text_without_tokens_has_no_spans():
    empty = np.empty((0, 2), dtype=np.int64)
    assert TokenClasses.of(("O", "OS"), {"OS": "OS"}).spans("", np.empty((0, 2)), empty) == ()


@dataclass
class StandIn:
    """Stands in for a model of transformers: each word is a token, and is tagged by looking it up."""

    tags: Sequence[str]
    words: Mapping[str, str]
    opened: list[tuple[Path, int | None]] = field(default_factory=list)

    def open(self, folder: Path, max_length: int | None) -> StandIn:
        self.opened.append((folder, max_length))
        return self

    def probabilities(self, texts: Sequence[str], /) -> list[tuple[FloatArray, IntArray] | InputError]:
        return [InputError("no word") if text == "" else self._probabilities(text) for text in texts]

    def _probabilities(self, text: str) -> tuple[FloatArray, IntArray]:
        words = text.split(" ")
        starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
        offsets = np.column_stack([starts, starts + [len(word) for word in words]])
        return certain(self.tags, [self.words.get(word, "O") for word in words]), offsets


def test_a_classifier_is_opened_when_it_is_first_asked_and_votes_in_the_labels_of_the_project(tmp_path: Path):
    tags = ["O", "B-APP", "I-APP", "B-OS", "I-OS"]
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text(json.dumps({"id2label": dict(enumerate(tags))}))
    model = StandIn(tags, {"Excel": "B-APP", "Windows": "B-OS", "11": "I-OS"})
    entry = (
        'kind = "transformers"\nfolder = "hf"\nlabels = {APP = "SOFTWARE", OS = "OS"}\nmax_length = 64\nmin_score = 0.5'
    )
    source = only(load(tmp_path, entry, open_classifier=model.open))
    assert model.opened == []
    answers = source.find_all(["Excel on Windows 11", "", "on"])
    assert answers == [[Span(0, 5, "SOFTWARE"), Span(9, 19, "OS")], Fault("no word"), []]
    assert model.opened == [(tmp_path / "hf", 64)]
    before = source.digest
    (tmp_path / "hf" / "model.safetensors").write_bytes(b"x")
    assert only(load(tmp_path, entry, open_classifier=model.open)).digest != before


@dataclass
class GlinerStandIn:
    """Stands in for GLiNER, which is not installed for tests: finds each label's words in a text of few words."""

    config: Any
    asked: list[str] = field(default_factory=list)

    @classmethod
    def from_pretrained(cls, folder: str, *, local_files_only: bool) -> GlinerStandIn:
        assert local_files_only
        return cls(SimpleNamespace(max_len=4))

    def inference(self, texts: list[str], labels: list[str], **options: Any) -> list[list[dict[str, Any]]]:
        assert (options["flat_ner"], options["threshold"]) == (True, 0.5)
        assert all(len(text.split()) <= 4 for text in texts)
        places = [[(text.find(label), label) for label in labels] for text in texts]
        return [
            [{"start": at, "end": at + len(label), "label": label} for at, label in row if at >= 0] for row in places
        ]


def test_gliner_is_asked_in_words_and_reads_long_texts_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("weak_labeling.sources.gliner.find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "gliner", SimpleNamespace(GLiNER=GlinerStandIn))
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "gliner_config.json").write_text("{}")
    source = only(load(tmp_path, 'kind = "gliner"\nfolder = "g"'))
    text = "a software b c d os e f software"
    found = source.find_all([text, "", "os"])
    assert [(text[one.start : one.end], one.label) for one in found[0]] == [
        ("software", "SOFTWARE"),
        ("os", "OS"),
        ("software", "SOFTWARE"),
    ]
    assert found[1:] == [[], [Span(0, 2, "OS")]]
