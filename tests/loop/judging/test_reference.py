"""The FP32 reference beside a served file: rebuilt from its adapter, measured apart, refused where it is another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from loop.judging.fp32_process import InTorch, Rebuilt, make_reference, rebuild, recorded_settings
from loop.judging.fp32_process import tag as tag_in_fp32
from loop.judging.reference import Reference, ReferenceRequest, from_json, measure_reference
from loop.judging.speeds import CALL, LEAST_ROUNDS, Runtime, measure_speeds
from loop.training import lora
from loop.training.encoder import load_base
from loop.training.retrain import retrain
from ner.bundle import MODEL, TOKENIZER, Bundle, load_bundle, write_bundle
from ner.spans import Span
from store.session import open_store
from tests.loop import tiny

pytestmark = pytest.mark.training

TEXTS = ("my Windows crashes on start 80", "nothing happens today 81", "why does Outlook ask for a password? 82")
WINDOWS, OUTLOOK = Span(3, 10, "OS"), Span(9, 16, "SOFTWARE")
LONG = " and ".join(TEXTS * 3)  # several windows


@dataclass(frozen=True)
class Candidate:
    """A trained bundle, and the tiny encoder that it was trained from."""

    path: Path
    encoder: Path


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    home = tmp_path_factory.mktemp("candidate")
    encoder = tiny.encoder(home / "encoder")
    store = open_store(f"sqlite:///{home / 'store.db'}")
    desk = tiny.project(store)
    tiny.put(store, desk, tiny.corpus(40))
    made = retrain(store, tiny.Placement(home / "models", tiny.train_settings(encoder)), desk)
    store.close()
    return Candidate(made.path, encoder)


@pytest.fixture
def bundle(candidate: Candidate) -> Bundle:
    return load_bundle(candidate.path)


@pytest.fixture
def rebuilt(candidate: Candidate, bundle: Bundle, tmp_path: Path) -> Rebuilt:
    base = load_base(str(candidate.encoder), bundle.labels, bundle.manifest.max_length)
    return rebuild(bundle, base, recorded_settings(bundle.manifest), tmp_path)


def request(candidate: Candidate, workspace: Path, **changed: Any) -> ReferenceRequest:
    asked = ReferenceRequest(str(candidate.path), str(candidate.encoder), TEXTS, (), str(workspace), threads=1, seed=1)
    return replace(asked, **changed)


def resealed(
    candidate: Candidate, to: Path, change: Callable[[Path], object] = lambda folder: None, **manifest: Any
) -> Candidate:
    """A copy of the bundle in which something was changed before it was hashed."""
    draft = to.with_name("draft")
    shutil.copytree(candidate.path, draft)
    change(draft)
    write_bundle(draft, to, replace(load_bundle(candidate.path).manifest, **manifest))
    return replace(candidate, path=to)


def plain(spans: Sequence[Span]) -> list[Span]:
    return [span.without_score() for span in spans]


def test_the_process_gives_spans_speeds_and_sizes_of_the_candidate(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import atexit; atexit.register(print, 'chatter of a library')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = measure_reference(candidate.path, str(candidate.encoder), TEXTS, TEXTS, threads=1, seed=1)
    assert found.error is None
    assert [plain(spans) for spans in found.spans] == [[WINDOWS], [], [OUTLOOK]]
    assert [speed.runtime for speed in found.speeds] == ["torch FP32", "ONNX FP32"]
    in_torch, fp32 = found.speeds
    assert in_torch.size_mb is None
    assert fp32.size_mb is not None and fp32.size_mb > (candidate.path / MODEL).stat().st_size / 1e6
    for speed in found.speeds:
        assert 0 < speed.latency_ms <= speed.latency_p95_ms
        assert speed.documents_per_second > 0
        assert (speed.texts, speed.threads) == (3, 1)
    saved = load_file(candidate.path / lora.ADAPTER / lora.WEIGHTS)
    assert found.trainable_parameters == sum(weight.numel() for weight in saved.values())
    assert found.tokenizer_sha256 == load_bundle(candidate.path).manifest.files[TOKENIZER]


def test_torch_alone_torch_in_a_padded_batch_and_the_fp32_file_find_the_same(bundle: Bundle, rebuilt: Rebuilt) -> None:
    texts = [LONG, *TEXTS]
    in_torch = InTorch(bundle, rebuilt)
    in_fp32 = tag_in_fp32(bundle, rebuilt, texts, threads=2)
    alone: Any = [in_torch.one(text) for text in texts]
    together: Any = in_torch.several(texts)
    assert len(in_fp32[0]) > 3
    for one, other, third in zip(alone, together, in_fp32, strict=True):
        assert plain(one.spans) == plain(other.spans) == plain(third)


def test_the_merged_model_is_what_was_trained_and_as_large_as_its_base(
    candidate: Candidate, bundle: Bundle, rebuilt: Rebuilt
) -> None:
    base = load_base(str(candidate.encoder), bundle.labels, bundle.manifest.max_length)
    assert rebuilt.total_parameters == sum(weight.numel() for weight in base.model.parameters())
    saved = load_file(candidate.path / lora.ADAPTER / lora.WEIGHTS)
    [head] = [weight for name, weight in saved.items() if name.endswith("classifier.weight")]
    assert torch.equal(rebuilt.model.classifier.weight, head)


def test_a_manifest_s_own_encoder_is_loaded_by_name_or_folder(candidate: Candidate, bundle: Bundle) -> None:
    assert bundle.manifest.encoder == str(candidate.encoder)


def test_an_encoder_with_other_weights_is_refused_with_both_hashes(candidate: Candidate, tmp_path: Path) -> None:
    other = tiny.encoder(tmp_path / "other", seed=5)
    found = make_reference(request(candidate, tmp_path, encoder=str(other)))
    recorded = load_bundle(candidate.path).manifest.settings["encoder_sha256"]
    assert found.error is not None and "the base encoder has the SHA-256" in found.error
    assert f"recorded {recorded}" in found.error
    assert found.spans == found.speeds == ()


def test_a_base_with_another_tokenizer_is_refused_and_its_hash_is_told(candidate: Candidate, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(candidate.encoder, other)
    tokenizer = json.loads((other / TOKENIZER).read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (other / TOKENIZER).write_text(json.dumps(tokenizer))
    found = make_reference(request(candidate, tmp_path, encoder=str(other)))
    assert found.error is not None and f"has the SHA-256 of the {TOKENIZER} that serves" in found.error
    assert found.tokenizer_sha256 is not None and found.tokenizer_sha256 in found.error


def cut_classifier(folder: Path) -> None:
    """Two classes instead of five."""
    path = folder / lora.ADAPTER / lora.WEIGHTS
    weights = load_file(path)
    save_file({name: weight[:2].clone() if "classifier" in name else weight for name, weight in weights.items()}, path)


def drop_classifier(folder: Path) -> None:
    path = folder / lora.ADAPTER / lora.WEIGHTS
    save_file({name: weight for name, weight in load_file(path).items() if "classifier" not in name}, path)


def drop_layer(folder: Path) -> None:
    path = folder / lora.ADAPTER / lora.WEIGHTS
    weights = load_file(path)
    del weights[next(name for name in weights if "lora_A" in name)]
    save_file(weights, path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut_classifier, "classifier gives 5 logits, as many as there are tags: got 2"),
        (drop_classifier, "classifier gives 5 logits, as many as there are tags: got it has none"),
        (drop_layer, "every weight of an adapter arrives"),
        (lambda folder: shutil.rmtree(folder / lora.ADAPTER), "a candidate carries its adapter"),
    ],
)
def test_an_adapter_that_is_not_whole_is_refused(
    candidate: Candidate, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    found = make_reference(request(resealed(candidate, tmp_path / "sealed", change), tmp_path))
    assert found.error is not None and said in found.error


def test_a_manifest_that_does_not_record_its_encoder_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    found = make_reference(request(resealed(candidate, tmp_path / "sealed", settings={"rank": 4}), tmp_path))
    assert found.error is not None and "without alpha, encoder_sha256" in found.error


def test_an_adapter_that_was_changed_since_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(candidate.path, copy)
    cut_classifier(copy)
    found = make_reference(request(replace(candidate, path=copy), tmp_path))
    assert found.error is not None and "SHA-256 of adapter/adapter_model.safetensors" in found.error


def test_an_encoder_that_is_gone_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    found = make_reference(request(candidate, tmp_path, encoder=str(empty)))
    assert found.error is not None and found.error.startswith("train.encoder is a token-classification encoder")


def test_a_reference_survives_json() -> None:
    span = Span(0, 2, "OS", 0.5)
    given = Reference(((span,), ()), (), 3, 4, "ab")
    assert from_json(json.loads(json.dumps(given.as_json()))) == given


@dataclass
class Stand:
    """Runs a shell script in place of the process."""

    script: Path
    monkeypatch: pytest.MonkeyPatch

    def measure(self, body: str, texts: Sequence[str] = (), timeout: float | None = None) -> Reference:
        self.script.write_text(f"#!/bin/sh\n{body}\n")
        self.script.chmod(0o755)
        self.monkeypatch.setattr(sys, "executable", str(self.script))
        return measure_reference(Path("bundle"), "tiny", texts, (), threads=1, seed=1, timeout=timeout)


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(tmp_path / "stand", monkeypatch)


@pytest.fixture
def heeding() -> Iterator[None]:
    """SIGINT interrupts, also where a shell's background job would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("cat >/dev/null; kill -9 $$", "ended by SIGKILL: it said nothing."),
        ("cat >/dev/null; printf 'one\\nRuntimeError: two\\n\\n' >&2; exit 3", "exit code 3: RuntimeError: two"),
        ("exit 3", "exit code 3"),
        ("cat >/dev/null; echo no JSON", "no answer that can be read"),
        ("cat >/dev/null; echo '[]'", "no answer that can be read"),
        ("cat >/dev/null; echo '{\"spans\": [[]]}'", "no answer that can be read"),
        ('cat >/dev/null; echo \'{"spans": [[]], "speeds": []}\'', "tagged 1 of 2 texts"),
    ],
)
def test_whatever_becomes_of_the_process_is_an_error_in_a_sentence(stand: Stand, body: str, said: str) -> None:
    found = stand.measure(body, ("a", "b"))
    assert found.error is not None and said in found.error
    assert found == Reference(error=found.error)


def test_a_process_that_cannot_be_started_is_an_error_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = measure_reference(Path("bundle"), "tiny", (), (), threads=1, seed=1)
    assert found.error is not None and "could not be started" in found.error


def test_the_process_is_told_what_to_do_and_to_let_its_threads_sleep(stand: Stand, tmp_path: Path) -> None:
    answer = '{"spans": [[{"start": 0, "end": 1, "label": "OS"}]], "speeds": []}'
    found = stand.measure(
        f"cat >{tmp_path}/told; echo $OMP_WAIT_POLICY $* >{tmp_path}/env; echo '{answer}'", ["\ud800"]
    )
    assert found == Reference(spans=((Span(0, 1, "OS"),),))
    told = json.loads((tmp_path / "told").read_text())
    assert told["texts"] == ["\ud800"] and told["encoder"] == "tiny"
    assert Path(told["bundle"]) == Path("bundle").absolute()
    assert (tmp_path / "env").read_text() == "PASSIVE -P -m loop.judging.fp32_process\n"
    assert not Path(told["workspace"]).exists()


def test_a_process_that_takes_too_long_is_ended(stand: Stand, tmp_path: Path) -> None:
    found = stand.measure(f"echo $$ >{tmp_path}/pid; exec sleep 60", timeout=0.5)
    assert found.error == "The FP32 reference was not there after 0.5 seconds, and was given up."
    assert is_gone(tmp_path / "pid")


def test_ctrl_c_ends_the_process_and_passes_through(stand: Stand, tmp_path: Path, heeding: None) -> None:
    pid, told = tmp_path / "pid", tmp_path / "told"

    def press() -> None:
        while not (pid.exists() and pid.read_text().endswith("\n")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        stand.measure(f"cat >{told}; echo $$ >{pid}; exec sleep 60")
    assert is_gone(pid)
    assert not Path(json.loads(told.read_text())["workspace"]).exists()


def is_gone(pid: Path) -> bool:
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


@dataclass
class Bench:
    """A clock that only runs while texts are tagged, and who tagged what, in order."""

    now: float = 0.0
    seen: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def runtime(self, name: str, one: Callable[[str], float], several: float) -> Runtime:
        def tag_one(text: str) -> None:
            self._pass(name, (text,), one(text))

        def tag_several(texts: Sequence[str]) -> None:
            self._pass(name, tuple(texts), several)

        return Runtime(name, tag_one, tag_several)

    def _pass(self, name: str, texts: tuple[str, ...], seconds: float) -> None:
        self.seen.append((name, texts))
        self.now += seconds


def test_speeds_are_the_median_the_95th_percentile_and_texts_a_second_in_calls_of_eight() -> None:
    bench = Bench()
    texts = [str(number) for number in range(5 * CALL)]
    slow = bench.runtime("slow", lambda text: 0.001 * int(text), several=0.5)
    even = bench.runtime("even", lambda text: 0.004, several=0.1)
    of_slow, of_even = measure_speeds([slow, even], texts, threads=2, clock=lambda: bench.now)
    assert (of_even.latency_ms, of_even.latency_p95_ms) == (pytest.approx(4), pytest.approx(4))
    assert of_even.documents_per_second == pytest.approx(8 / 0.1)
    assert of_slow.latency_ms == pytest.approx(39 / 2)
    assert of_slow.latency_p95_ms == pytest.approx(0.95 * 39)
    assert of_slow.documents_per_second == pytest.approx(8 / 0.5)
    assert (of_slow.texts, of_slow.threads) == (40, 2)


def test_runtimes_take_turns_in_every_round_on_the_same_texts_after_a_warm_up() -> None:
    bench = Bench()
    names = ("a", "b", "c")
    texts = [str(number) for number in range(7 * CALL - 3)]
    measure_speeds([bench.runtime(name, lambda text: 1.0, 1.0) for name in names], texts, 1, lambda: bench.now)
    calls = [(name, asked) for name, asked in bench.seen if len(asked) == CALL]
    assert [name for name, _ in calls] == [*"abc", *"abc", *"bca", *"cab", *"abc", *"bca", *"cab", *"abc"]
    assert all(len({asked for _, asked in calls[at : at + 3]}) == 1 for at in range(0, len(calls), 3))
    alone = [asked[0] for name, asked in bench.seen if name == "b" and len(asked) == 1]
    assert alone == [*texts[:CALL], *texts, *texts[:3]]


def test_few_texts_are_gone_through_more_than_once_and_none_are_not_timed() -> None:
    bench = Bench()
    [speed] = measure_speeds([bench.runtime("a", lambda text: 1.0, 1.0)], ["x", "y"], 1, lambda: bench.now)
    assert speed.texts == 2
    assert len(bench.seen) == (1 + LEAST_ROUNDS) * (CALL + 1)
    assert measure_speeds([bench.runtime("a", lambda text: 1.0, 1.0)], [], 1) == ()
