"""A file in INT8 with constant scales answers for a text alone as it answers for the text among strangers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loop.training.encoder import load_base, quiet
from loop.training.served_file.export import to_onnx
from loop.training.served_file.quantise import Quantiser, quantise
from ner.arrays import Logits
from ner.labels import LabelSet
from ner.models.bundle import Bundle, Manifest
from ner.models.network import TOKENS_A_RUN, WINDOWS_SHARE_RUNS, Network
from ner.tagger import Tagger
from tests.loop import tiny

LABELS = LabelSet(tiny.LABELS)
MAX_LENGTH = 24
WORDS = " ".join(text for text, _ in tiny.corpus(80)).split()


class Counted(Network):
    """A network of a file; keeps how many windows each of its runs read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sizes: list[int] = []

    def logits_of_run(self, windows: Sequence[Sequence[int]]) -> Logits:
        self.sizes.append(len(windows))
        return super().logits_of_run(windows)


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A folder with fp32.onnx and int8.onnx of a tiny encoder, and a bundle that the latter serves."""
    folder = tmp_path_factory.mktemp("exported")
    base = load_base(str(tiny.encoder(folder / "encoder", request.param)), LABELS, MAX_LENGTH)
    with torch.no_grad():
        base.model.classifier.weight.mul_(20)  # else all logits are nearly equal
    encoder = base.text_encoder
    to_onnx(base.model, folder / "fp32.onnx", [0, 5, 2])
    quantise(folder / "fp32.onnx", folder / "int8.onnx", [encoder.frame(encoder.encode(word).ids) for word in WORDS])
    manifest = Manifest(
        version="it-0001",
        encoder="tiny",
        labels=LABELS.types,
        max_length=MAX_LENGTH,
        confidence="minimum_margin",
        created_at="2026-01-01T00:00:00+00:00",
        data_fingerprint="0" * 64,
        seed=13,
    )
    return folder, Bundle(folder, manifest, LABELS, Counted(folder / "int8.onnx"), encoder)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 50), min_size=33, max_size=33),
    seed=st.integers(0, 1000),
    threads=st.sampled_from([1, 3]),
)
def test_a_text_has_the_same_spans_and_scores_alone_and_among_strangers(
    exported: tuple[Path, Bundle], lengths: list[int], seed: int, threads: int
) -> None:
    """Texts of none to about fifty words, so of up to a dozen windows: unusual words have many tokens."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices([*WORDS, "xyzzy"], k=length)) for length in lengths]
    tagger = Tagger(exported[1], threads)
    try:
        together = tagger.tag_many(texts)
        assert together == [tagger.tag(text) for text in texts]
        order = draw.sample(range(len(texts)), len(texts))
        assert tagger.tag_many([texts[place] for place in order]) == [together[place] for place in order]
    finally:
        tagger.close()


def test_windows_of_one_length_are_read_together(exported: tuple[Path, Bundle]) -> None:
    bundle = exported[1]
    network = bundle.network
    assert isinstance(network, Counted)
    network.sizes.clear()
    Tagger(bundle).tag_many(["my Windows crashes"] * 8 + ["Windows " * 800])
    assert 8 in network.sizes
    assert max(network.sizes) == TOKENS_A_RUN // MAX_LENGTH  # the windows of the long text


def test_a_file_with_dynamic_scales_is_read_one_window_a_run(exported: tuple[Path, Bundle], tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # which ner.models.runtime has loaded

    folder, bundle = exported
    with quiet():
        quantize_dynamic(str(folder / "fp32.onnx"), str(tmp_path / "old.onnx"), weight_type=QuantType.QInt8)
    network = Counted(tmp_path / "old.onnx")
    texts = [text for text, _ in tiny.corpus(40)]
    taggings = Tagger(replace(bundle, network=network)).tag_many(texts)
    assert network.sizes == [1] * len(texts)
    assert taggings == [Tagger(replace(bundle, network=network)).tag(text) for text in texts]


def test_a_file_with_products_in_floats_is_read_one_window_a_run(exported: tuple[Path, Bundle], tmp_path: Path) -> None:
    quantiser = Quantiser(exported[0] / "fp32.onnx", [[2, 5, 6, 3]])
    quantiser.write(tmp_path / "partly.onnx", quantiser.nodes[:1])
    assert not Network(tmp_path / "partly.onnx").windows_share_runs
    assert Network(exported[0] / "int8.onnx").windows_share_runs


def test_smoothing_of_the_attentions_output_costs_no_node(exported: tuple[Path, Bundle]) -> None:
    """Of four inputs to products in each of two layers, and that of the classifier, only three and one are scaled."""
    nodes = onnx.load(str(exported[0] / "int8.onnx")).graph.node
    assert len([node for node in nodes if node.op_type == "QuantizeLinear"]) == 2 * 4 + 1
    assert len([node for node in nodes if node.op_type == "Mul" and node.name.endswith("_smooth")]) == 2 * 3 + 1


def test_int8_is_near_fp32(exported: tuple[Path, Bundle]) -> None:
    folder, bundle = exported
    ids = [bundle.encoder.frame(bundle.encoder.encode(text).ids[:20]) for text, _ in tiny.corpus(40)]
    exact, found = Network(folder / "fp32.onnx"), Network(folder / "int8.onnx")
    differences = [np.abs(exact.logits(one) - found.logits(one)).mean() for one in ids]
    size = np.mean([np.abs(exact.logits(one)).mean() for one in ids])
    assert np.mean(differences) < 0.1 * size


def test_the_name_of_the_entry_is_that_of_files_that_were_written(exported: tuple[Path, Bundle]) -> None:
    """Who renames the entry would have every model of before read one window a run."""
    properties = {one.key: one.value for one in onnx.load(str(exported[0] / "int8.onnx")).metadata_props}
    assert properties == {WINDOWS_SHARE_RUNS: "yes"} == {"windows_share_runs": "yes"}
