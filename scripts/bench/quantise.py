"""What INT8 costs, and what smoothing gives back: python -m scripts.bench.quantise HOME [--on FILE]

HOME is a project with a model, as `stackoverflow --keep HOME` leaves one. Its adapter is merged and exported
to FP32 anew, and quantised in several ways. Each file is read as it is served, on the development split (never on the
holdout), or on the labelled texts of FILE. Prints a Markdown table; times are of the processor, on one thread.

    python -m scripts.bench.quantise --graphs

compares the graph of this project with the graph of ONNX Runtime's own transformer optimiser, in nodes and time a run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnx

from loop.files.predicting import read_labelled
from loop.files.reading import Request
from loop.settings.model import TrainSettings
from loop.settings.settings import Settings
from loop.training import lora
from loop.training.batches import encode
from loop.training.dev_split import DevEvaluation, EvaluationTexts, onnx_reader
from loop.training.encoder import MINILM, load_base, quiet
from loop.training.retrain import Prepared, prepare
from loop.training.served_file.export import to_onnx
from loop.training.served_file.precision import CALIBRATION, divergence
from loop.training.served_file.quantise import MIGRATIONS, Quantiser, write_simplified
from ner.arrays import Logits
from ner.label_studio.label_config import LabelConfig
from ner.labels import LabelSet
from ner.models.network import Network
from store.database.session import open_store
from store.projects import project_by_name
from store.registry import models, promoted

ROUNDS = 5
ALONE, TOGETHER = 200, 1000
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
    parser.add_argument("--on", type=Path, metavar="FILE", help="labelled texts in place of the development split")
    parser.add_argument("--graphs", action="store_true", help="compare graphs of the untrained base encoder instead")
    arguments = parser.parse_args()
    if not arguments.graphs and arguments.home is None:
        parser.error("name a project, or say --graphs")
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.graphs:
            compare_graphs(Path(scratch))
        else:
            measure(arguments.home, arguments.on, Path(scratch))


def measure(home: Path, on: Path | None, folder: Path) -> None:
    """Make and read every variant."""
    prepared, training, adapter = gathered(home)
    read = prepared.dev if on is None else texts_of(on, home, prepared)
    fp32 = folder / "fp32.onnx"
    to_onnx(merged(prepared, training, adapter), fp32, prepared.data.lesson.last[0].ids.tolist())
    reference = Measured.of(fp32, read)
    print(f"{len(read.texts):,} texts, {read.entities:,} entities, {len(reference.logits):,} windows\n")
    print(
        "| file | F1 | texts that differ from FP32 | KL to FP32, nats a token | CPU ms a window | in shared runs | MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    files = {"FP32, graph as exported": fp32}
    for variant in variants(prepared):
        files[variant.name] = folder / f"{len(files)}.onnx"
        variant.make(fp32, files[variant.name])
    taken = times(list(files.values()), read)
    for name, path in files.items():
        Measured.of(path, read).print_row(name, reference, taken[path], path.stat().st_size)
    for name, path in files.items():
        print_company(name, Network(path), read)


def print_company(name: str, network: Network, read: EvaluationTexts) -> None:
    """How many windows have other logits in a run with other windows than alone, where windows may share a run."""
    if network.windows_share_runs:
        windows = read.windows()
        pairs = zip(windows, onnx_reader(network)(windows), strict=True)
        others = sum(not np.array_equal(network.logits(window.ids.tolist()), logits) for window, logits in pairs)
        print(f"\n{name}: {others} of {len(windows):,} windows have other logits in shared runs than alone")


def variants(prepared: Prepared) -> Iterator[Variant]:
    """Dynamic INT8 by ONNX Runtime's own tool; then constant scales, with activations smoothed more and more."""
    windows = [window.ids.tolist() for window in prepared.data.lesson.last[:CALIBRATION]]
    yield Variant("dynamic INT8, graph as exported", plain)
    yield Variant("INT8, not smoothed", partial(static, windows, ()))
    for migration in MIGRATIONS:
        yield Variant(f"INT8, smoothed by {migration}", partial(static, windows, (migration,)))
    yield Variant("INT8, smoothed by what suits each product (served)", partial(static, windows, MIGRATIONS))


def static(windows: Sequence[Sequence[int]], migrations: Sequence[float], source: Path, target: Path) -> None:
    """As the file that serves is made, with one of these shares of the range moved into the weights."""
    Quantiser(source, windows, migrations).write(target)


def texts_of(file: Path, home: Path, prepared: Prepared) -> EvaluationTexts:
    """The labelled texts of a file, read as `loop evaluate --on` reads them."""
    settings = Settings.load(home)
    with closing(open_store(settings.store_url)) as store, store.read() as session:
        config = LabelConfig.parse(project_by_name(session, settings.project_name).label_config)
    found = read_labelled(file, Request(config, settings.label_map)).documents
    dev, length = prepared.dev, settings.train.max_length
    texts = [encode(one.text, one.spans, dev.encoder, prepared.labels, length) for one in found]
    return replace(dev, texts=tuple(texts))


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
        "INT8, simplified (this project)": partial(static, [ids], MIGRATIONS),
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
    """The data and splits that the model was trained with, its settings, and the folder of its adapter.

    The model in service, or the newest one where none is.
    """
    settings = Settings.load(home)
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
        model = promoted(session, project.id) or models(session, project.id)[-1]
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

    def print_row(self, name: str, reference: Measured, taken: Taken, size: int) -> None:
        """A line of the table."""
        pairs = zip(self.evaluated.spans, reference.evaluated.spans, strict=True)
        differing = sum(bare(ours) != bare(theirs) for ours, theirs in pairs)
        both = zip(reference.logits, self.logits, strict=True)
        kl = np.concatenate([divergence(theirs, ours) for theirs, ours in both]).mean()
        together = f"{1000 * taken.together:.2f}" if taken.together else ""
        cost = f"{1000 * taken.alone:.2f} | {together} | {size / 1e6:.1f}"
        figures = f"{100 * self.evaluated.f1:.2f} | {differing} | {kl:.5f} | {cost}"
        print(f"| {name} | {figures} |", flush=True)


def bare(spans: object) -> set[tuple[int, int, str]]:
    """Spans without their scores."""
    return {(span.start, span.end, span.label) for span in spans}  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Taken:
    """Processor seconds a window on one thread: alone, and in runs of many; None where windows may not share one."""

    alone: float
    together: float | None


def times(files: list[Path], read: EvaluationTexts) -> dict[Path, Taken]:
    """Medians of ROUNDS, in which every file takes its turn."""
    windows = [window.ids.tolist() for window in read.windows()]
    few, many = windows[:ALONE], windows[:TOGETHER]
    networks = {path: Network(path) for path in files}
    alone: dict[Path, list[float]] = {path: [] for path in files}
    together: dict[Path, list[float]] = {path: [] for path in files}
    for _ in range(ROUNDS):
        for path, network in networks.items():
            begin = time.process_time()
            for ids in few:
                network.logits(ids)
            alone[path].append((time.process_time() - begin) / len(few))
            if network.windows_share_runs:
                runs = network.runs([len(ids) for ids in many])
                begin = time.process_time()
                for run in runs:
                    network.logits_of_run([many[place] for place in run])
                together[path].append((time.process_time() - begin) / len(many))
    return {path: Taken(median(alone[path]), median(together[path]) if together[path] else None) for path in files}


if __name__ == "__main__":
    main()
