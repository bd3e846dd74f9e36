from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers

from ner.arrays import Logits
from ner.errors import InputError
from ner.models.bundle import load_bundle
from ner.models.network import Network
from ner.spans import Span
from ner.tagger import CHUNK, Tagger, Tagging
from ner.tokens import TextEncoder
from tests.fakes import CERTAIN, tiny_bundle

LABELS = ("OS", "VERSION")
WORDS = {"windows": "OS", "server": "I-OS", "10": "VERSION", "linux": "OS"}
TEXT = "My \U0001f600 Windows Server 10 hangs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    certainty = {"hangs": 0.5, "maybe": 0.25}
    return tiny_bundle(
        tmp_path_factory.mktemp("models") / "it-0001", LABELS, WORDS, certainty=certainty, version="it-0001"
    )


@pytest.fixture(params=[1, 3])
def tagger(folder: Path, request: pytest.FixtureRequest) -> Iterator[Tagger]:
    tagger = Tagger(load_bundle(folder), threads=request.param)
    yield tagger
    tagger.close()


class Counted(Network):
    """The tagger's network from now on; counts the windows that it runs."""

    def __init__(self, tagger: Tagger) -> None:
        self.number = 0
        self._inner, self._lock = tagger._bundle.network, threading.Lock()
        tagger._bundle = replace(tagger._bundle, network=self)

    def logits(self, ids: Sequence[int]) -> Logits:
        with self._lock:
            self.number += 1
        return self._inner.logits(ids)


def bare(tagging: Tagging) -> list[Span]:
    return [span.without_score() for span in tagging.spans]


def test_spans_are_code_points_of_the_text(tagger: Tagger) -> None:
    assert bare(tagger.tag(TEXT)) == [Span(5, 19, "OS"), Span(20, 22, "VERSION")]
    assert TEXT[5:19] == "Windows Server"


def test_a_span_scores_the_geometric_mean_of_its_tags(tagger: Tagger) -> None:
    assert [span.score for span in tagger.tag(TEXT).spans] == pytest.approx([(1 + CERTAIN) / 2] * 2, abs=1e-6)


def test_a_tagging_carries_the_models_confidence_and_version(tagger: Tagger) -> None:
    tagging = tagger.tag(TEXT)
    assert tagging.confidence == pytest.approx(0.5, abs=1e-6)
    assert tagging.version == tagger.version == "it-0001"
    assert tagger.tag("maybe windows").confidence < tagging.confidence < tagger.tag("windows").confidence


@pytest.mark.parametrize("text", ["", "  \n", "\u00a0"])
def test_a_text_without_tokens_has_no_spans_and_nothing_to_doubt(tagger: Tagger, text: str) -> None:
    assert tagger.tag(text) == Tagging((), 1.0, "it-0001")
    probs, offsets = tagger.probabilities(text)
    assert (probs.shape, offsets.shape) == ((0, 5), (0, 2))


@pytest.mark.parametrize("text", ["a\0b", "\ud83d windows", 7])
def test_a_refused_text_is_refused_by_name(tagger: Tagger, text: str) -> None:
    with pytest.raises(InputError, match="a text"):
        tagger.tag(text)


def test_probabilities_are_those_of_the_words_alone(tagger: Tagger) -> None:
    probs, offsets = tagger.probabilities("Windows 10")
    assert offsets.tolist() == [[0, 7], [8, 10]]
    assert probs.sum(axis=1) == pytest.approx(np.ones(2))
    assert probs.argmax(axis=1).tolist() == [1, 3]


def test_a_long_text_is_tagged_as_its_parts_are(tagger: Tagger) -> None:
    sentence = "windows server 10 and linux "
    count = 200
    found = bare(tagger.tag(sentence * count))
    one = bare(tagger.tag(sentence))
    shift = len(sentence)
    assert found == [Span(s.start + shift * n, s.end + shift * n, s.label) for n in range(count) for s in one]


def test_a_check_that_raises_leaves_the_windows_that_wait_unread(tagger: Tagger) -> None:
    checked = threading.Semaphore(5)

    def check() -> None:
        time.sleep(0.001)
        if not checked.acquire(blocking=False):
            raise TimeoutError("five windows were read")

    long, windows_run = "windows 10 " * 2000, Counted(tagger)
    with pytest.raises(TimeoutError):
        tagger.tag(long, check)
    assert windows_run.number == 5
    with pytest.raises(TimeoutError):
        tagger.tag_many([long, "windows"] * 10, check=check)
    assert windows_run.number == 5


def test_an_entity_longer_than_a_window_comes_back_whole(tagger: Tagger) -> None:
    text = "windows" + " server" * 60
    assert bare(tagger.tag(text)) == [Span(0, len(text), "OS")]


def test_many_texts_are_tagged_in_order_as_each_one_alone(tagger: Tagger) -> None:
    texts = [f"{'windows ' * (n % 20)}{'maybe' * (n % 2)} 10" for n in range(CHUNK + 20)]
    done: list[int] = []
    assert tagger.tag_many(iter(texts), done.append) == [tagger.tag(text) for text in texts]
    assert done == [CHUNK, CHUNK + 20]


def test_no_texts_have_no_taggings(tagger: Tagger) -> None:
    assert tagger.tag_many([]) == []


def test_one_tagger_serves_many_threads(tagger: Tagger) -> None:
    texts = [f"windows {'hangs ' * (n % 40)}10" for n in range(200)]
    expected = [tagger.tag(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tagger.tag, texts)) == expected


def test_an_invalid_best_path_is_repaired(tagger: Tagger) -> None:
    assert bare(tagger.tag("server")) == []
    assert bare(tagger.tag("10 server")) == [Span(0, 2, "VERSION")]


def test_the_confidence_is_the_one_the_manifest_names(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "m", LABELS, WORDS, certainty={"maybe": 0.0}, confidence="least_confidence")
    tagger = Tagger(load_bundle(folder))
    assert tagger.tag("maybe maybe").confidence == pytest.approx(0.5 * 0.5, abs=1e-6)


def test_the_costs_in_the_manifest_reach_the_decoder(tmp_path: Path) -> None:
    free = Tagger(load_bundle(tiny_bundle(tmp_path / "free", LABELS, WORDS)))
    dear = Tagger(load_bundle(tiny_bundle(tmp_path / "dear", LABELS, WORDS, break_costs={"punctuation": 30.0})))
    assert bare(free.tag("windows-")) == [Span(0, 7, "OS")]
    assert bare(dear.tag("windows-")) == []
    assert bare(dear.tag("windows -")) == [Span(0, 7, "OS")]


def test_tokens_of_whitespace_are_read_but_not_tagged(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "m", LABELS, WORDS, certainty={" ": 0.1})
    bundle = load_bundle(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    tagger = Tagger(replace(bundle, encoder=TextEncoder(tokenizer)))
    tagging = tagger.tag("windows server  10")
    assert bare(tagging) == [Span(0, 14, "OS"), Span(16, 18, "VERSION")]
    assert tagging.confidence == pytest.approx(CERTAIN, abs=1e-6)


def test_tagging_imports_neither_torch_nor_transformers_nor_onnx(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path;"
        " from ner.models.bundle import load_bundle; from ner.tagger import Tagger;"
        f"Tagger(load_bundle(Path({str(folder)!r}))).tag('windows 10');"
        "print(sorted({'torch', 'transformers', 'onnx', 'peft'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
