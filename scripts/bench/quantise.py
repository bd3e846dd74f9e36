"""What INT8 costs, and what smoothing gives back: python -m scripts.bench.quantise HOME

HOME is a project with a model in service, as `stackoverflow --keep HOME` leaves one. Its adapter is merged and exported
to FP32 anew, quantised in several ways, and each file is read one window a run, as it is served, on the
development split (never on the holdout). Prints a Markdown table.

    python -m scripts.bench.quantise --graphs

compares the graph of this project with the graph of ONNX Runtime's own transformer optimiser, in nodes and time a run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnx

from loop.settings.model import TrainSettings
from loop.settings.settings import Settings
from loop.training import lora
from loop.training.dev_split import DevEvaluation, EvaluationTexts, onnx_reader
from loop.training.encoder import MINILM, load_base, quiet
from loop.training.retrain import Prepared, prepare
from loop.training.served_file.export import to_onnx
from loop.training.served_file.precision import CALIBRATION, divergence
from loop.training.served_file.quantise import MIGRATION, SMOOTHED, quantise, write_simplified
from ner.arrays import Logits
from ner.labels import LabelSet
from ner.models.network import Network
from store.database.session import open_store
from store.projects import project_by_name
from store.registry import promoted

ROUNDS = 5
GRAPH_ROUNDS, GRAPH_TOKENS = 200, 20


@dataclass(frozen=True)
class Variant:
    """A way to make the file that is served; `make` reads the FP32 file and writes the other."""

    name: str
    make: Callable[[Path, Path], object]


def main() -> None:
    """Read the argument, make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, nargs="?", help="a project with a model in service")
    parser.add_argument("--graphs", action="store_true", help="compare graphs of the untrained base encoder instead")
    arguments = parser.parse_args()
    if not arguments.graphs and arguments.home is None:
        parser.error("name a project, or say --graphs")
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.graphs:
            compare_graphs(Path(scratch))
        else:
            measure(arguments.home, Path(scratch))


def measure(home: Path, folder: Path) -> None:
    """Make and read every variant."""
    prepared, training, adapter = gathered(home)
    fp32 = folder / "fp32.onnx"
    to_onnx(merged(prepared, training, adapter), fp32, prepared.data.lesson.last[0].ids.tolist())
    reference = Measured.of(fp32, prepared.dev)
    print(f"{len(prepared.dev.texts)} texts, {prepared.dev.entities} entities, {len(reference.logits)} windows\n")
    print("| file | F1 | texts that differ from FP32 | KL to FP32, nats a token | ms a window | MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    files = {"FP32, graph as exported": fp32}
    for variant in variants(prepared):
        files[variant.name] = folder / f"{len(files)}.onnx"
        variant.make(fp32, files[variant.name])
    seconds = times(list(files.values()), prepared)
    for name, path in files.items():
        Measured.of(path, prepared.dev).print_row(name, reference, seconds[path], path.stat().st_size)


def variants(prepared: Prepared) -> Iterator[Variant]:
    """INT8 without and with the two steps that ours has before and after: simplifying the graph, and smoothing."""
    calibration = [window.ids.tolist() for window in prepared.data.lesson.last[:CALIBRATION]]
    tags = len(prepared.labels.tags)
    yield Variant("INT8, graph as exported", plain)
    yield Variant("INT8, graph simplified", partial(quantise, calibration=(), num_tags=tags))
    for migration, share in ((0.5, SMOOTHED), (MIGRATION, SMOOTHED), (0.9, SMOOTHED), (MIGRATION, 1.0)):
        make = partial(quantise, calibration=calibration, num_tags=tags, migration=migration, smoothed=share)
        where = " in every layer" if share == 1.0 else ""
        served = " (served)" * ((migration, share) == (MIGRATION, SMOOTHED))
        yield Variant(f"INT8, simplified, smoothed by {migration}{where}{served}", make)


def compare_graphs(folder: Path) -> None:
    """Print nodes and milliseconds a window of GRAPH_TOKENS tokens for each way to make the graph."""
    labels = LabelSet(("A", "B", "C", "D", "E"))
    ids = list(range(1000, 1000 + GRAPH_TOKENS))
    fp32 = folder / "fp32.onnx"
    to_onnx(load_base(MINILM, labels, 128).model, fp32, ids)
    makers: dict[str, Callable[[Path, Path], object]] = {
        "FP32, simplified (this project)": write_simplified,
        "FP32, transformer optimiser": optimised,
        "INT8, as exported": plain,
        "INT8, simplified (this project)": partial(quantise, calibration=(), num_tags=len(labels.tags)),
        "INT8, transformer optimiser": optimised_int8,
    }
    files = {"FP32, as exported": fp32}
    for name, make in makers.items():
        files[name] = folder / f"{len(files)}.onnx"
        make(fp32, files[name])
    networks = {name: Network(path) for name, path in files.items()}
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(GRAPH_ROUNDS):
        for name, network in networks.items():
            begin = time.perf_counter()
            network.logits(ids)
            seconds[name].append(time.perf_counter() - begin)
    print("| graph | nodes | ms a window, best | median | MB |\n| --- | --- | --- | --- | --- |")
    for name, path in files.items():
        best, middle = 1000 * min(seconds[name]), 1000 * median(seconds[name])
        nodes, size = len(onnx.load(str(path)).graph.node), path.stat().st_size / 1e6
        print(f"| {name} | {nodes} | {best:.2f} | {middle:.2f} | {size:.1f} |")


def optimised(source: Path, target: Path) -> None:
    """What ONNX Runtime's transformer optimiser makes of the file."""
    from onnxruntime.transformers import optimizer

    with quiet():
        model = optimizer.optimize_model(str(source), model_type="bert", num_heads=12, hidden_size=384, opt_level=1)
    model.save_model_to_file(str(target))


def optimised_int8(source: Path, target: Path) -> None:
    """The same, with its products, its tables and its attention in INT8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    optimised(source, target)
    with quiet():
        quantize_dynamic(
            str(target),
            str(target),
            op_types_to_quantize=["MatMul", "Gather", "Attention", "EmbedLayerNormalization"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def plain(source: Path, target: Path) -> None:
    """What ONNX Runtime's own tool makes of the file."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    operators = ["MatMul", "Gather"]
    with quiet():
        quantize_dynamic(
            str(source), str(target), op_types_to_quantize=operators, weight_type=QuantType.QInt8, per_channel=True
        )


def gathered(home: Path) -> tuple[Prepared, TrainSettings, Path]:
    """The data and splits that the model in service was trained with, its settings, and the folder of its adapter."""
    settings = Settings.load(home)
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
        model = promoted(session, project.id)
    assert model is not None, "no model is in service there"
    training = settings.train.changed(seed=model.seed)
    prepared = prepare(store, settings.library, project, training, True)
    store.close()
    return prepared, training, settings.model_dir / model.path / lora.ADAPTER


def merged(prepared: Prepared, training: TrainSettings, adapter: Path) -> object:
    """The trained model in torch."""
    adapted = lora.attach(prepared.base, training, len(prepared.labels.tags))
    lora.load_weights(adapted, adapter)
    return lora.merge(adapted)


@dataclass(frozen=True)
class Measured:
    """What one file makes of the development split."""

    evaluated: DevEvaluation
    logits: tuple[Logits, ...]

    @staticmethod
    def of(path: Path, dev: EvaluationTexts) -> Measured:
        """Read every window of every text once."""
        logits: list[Logits] = []

        def read(windows: object) -> list[Logits]:
            logits.extend(onnx_reader(Network(path))(windows))  # type: ignore[arg-type]
            return logits

        return Measured(dev.evaluate(read), tuple(logits))

    def print_row(self, name: str, reference: Measured, seconds: float, size: int) -> None:
        """A line of the table."""
        pairs = zip(self.evaluated.spans, reference.evaluated.spans, strict=True)
        differing = sum(bare(ours) != bare(theirs) for ours, theirs in pairs)
        both = zip(reference.logits, self.logits, strict=True)
        kl = np.concatenate([divergence(theirs, ours) for theirs, ours in both]).mean()
        cost = f"{1000 * seconds:.2f} | {size / 1e6:.1f}"
        figures = f"{100 * self.evaluated.f1:.2f} | {differing} | {kl:.5f} | {cost}"
        print(f"| {name} | {figures} |")


def bare(spans: object) -> set[tuple[int, int, str]]:
    """Spans without their scores."""
    return {(span.start, span.end, span.label) for span in spans}  # type: ignore[attr-defined]


def times(files: list[Path], prepared: Prepared) -> dict[Path, float]:
    """Seconds a window on one thread: the best of ROUNDS, in which every file takes its turn."""
    windows = replace(prepared.dev, texts=prepared.dev.texts[:200]).windows()
    networks = {path: Network(path) for path in files}
    best = dict.fromkeys(files, float("inf"))
    for _ in range(ROUNDS):
        for path, network in networks.items():
            begin = time.perf_counter()
            onnx_reader(network)(windows)
            best[path] = min(best[path], (time.perf_counter() - begin) / len(windows))
    return best


if __name__ == "__main__":
    main()
