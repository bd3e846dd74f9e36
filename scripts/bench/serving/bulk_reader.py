"""One way to read many texts, for `bulk`: reads all of them once for each line of standard input, and tells how long.

    python bulk_reader.py {this,pipeline,bf16,fp32,dynamic,product} FOLDER CORES

Started as a file, so that another checkout's code can be on the path. FOLDER is what `prepare_backend` wrote.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_TOKENS_A_BATCH = 512
_PIPELINE_READS = 8  # every so many texts
_ROWS, _SHAPES = 512, ((384, 384), (384, 1152), (384, 1536), (1536, 384))
_OPERATIONS = 10**10

Reading = tuple[Callable[[], object], float]


def main() -> None:
    way, folder, cores = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    texts: list[str] = json.loads((folder.parent / "texts.json").read_text("utf-8"))
    if way == "product":
        ask_product(cores)
        return
    make: Callable[..., Reading] = {"this": by_tagger, "pipeline": by_pipeline}.get(way, by_batches)
    read, done = make(way, folder, cores, texts)
    operations = operations_a_text(folder, texts) if way == "this" else 0
    for _ in sys.stdin:
        answer({"done": done, "operations": operations, **timed(read)})


def timed(read: Callable[[], object]) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    read()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def answer(told: dict[str, float]) -> None:
    print(json.dumps(told), flush=True)


def by_tagger(way: str, folder: Path, cores: int, texts: list[str]) -> Reading:  # noqa: ARG001
    """As `loop predict` reads."""
    try:
        from ner.models.bundle import load_bundle
    except ImportError:  # the place in older checkouts
        from ner.bundle import load_bundle  # type: ignore[import-not-found, no-redef]
    from ner.tagger import Tagger

    tagger = Tagger(load_bundle(bundle_of(folder)), cores)
    return lambda: tagger.tag_many(texts), len(texts)


def by_pipeline(way: str, folder: Path, cores: int, texts: list[str]) -> Reading:  # noqa: ARG001
    import torch
    from transformers import pipeline

    torch.set_num_threads(cores)
    tagger = pipeline("token-classification", model=str(folder / "hf"), aggregation_strategy="simple", device="cpu")
    some = texts[::_PIPELINE_READS]
    return lambda: tagger(some), len(some)


def by_batches(way: str, folder: Path, cores: int, texts: list[str]) -> Reading:
    """Sorted, padded batches, by whatever gives the logits of a batch and its mask."""
    from ner.decoding import log_softmax, tags_to_spans, viterbi
    from ner.models.bundle import load_bundle
    from ner.windows import merge, windows

    bundle = load_bundle(bundle_of(folder))
    logits_of = in_torch(folder, cores) if way == "bf16" else in_onnx(way, folder, cores)
    encoder, length = bundle.encoder, bundle.manifest.max_length

    def read() -> list[object]:
        tokens = [encoder.encode(text) for text in texts]
        parts = [windows(len(one.ids), length, encoder.num_special) for one in tokens]
        places = [(text, part) for text, some in enumerate(parts) for part in range(len(some))]
        framed = [
            encoder.frame(tokens[text].ids[parts[text][part].start : parts[text][part].end]) for text, part in places
        ]
        found: dict[tuple[int, int], Any] = {}
        for batch in batches([len(ids) for ids in framed]):
            ids = np.zeros((len(batch), max(len(framed[place]) for place in batch)), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, place in enumerate(batch):
                ids[row, : len(framed[place])], mask[row, : len(framed[place])] = framed[place], 1
            for row, place in zip(logits_of(ids, mask), batch, strict=True):
                found[places[place]] = row[len(encoder.prefix) : len(framed[place]) - len(encoder.suffix)]
        spans: list[object] = []
        for text, some in enumerate(parts):
            if not some:
                continue
            scores = log_softmax(merge(some, [found[text, part] for part in range(len(some))]))
            tags = viterbi(scores, bundle.labels)
            spans.append(tags_to_spans(tags, tokens[text].offsets, bundle.labels, np.exp(scores)))
        return spans

    return read, len(texts)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places in order of length, as many as have about _TOKENS_A_BATCH tokens once padded."""
    batch: list[int] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        if batch and (len(batch) + 1) * lengths[place] > _TOKENS_A_BATCH:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def in_torch(folder: Path, cores: int) -> Callable[[Any, Any], Any]:
    import torch
    from transformers import AutoModelForTokenClassification

    torch.set_num_threads(cores)
    model = AutoModelForTokenClassification.from_pretrained(folder / "hf", dtype=torch.bfloat16).eval()

    def logits(ids: Any, mask: Any) -> Any:
        with torch.inference_mode():
            return model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.float().numpy()

    return logits


def in_onnx(way: str, folder: Path, cores: int) -> Callable[[Any, Any], Any]:
    from transformers import AutoModelForTokenClassification

    from loop.training.served_file.export import to_onnx
    from ner.models.runtime import onnxruntime

    fp32, dynamic = folder / "masked-fp32.onnx", folder / "masked-dynamic.onnx"
    if not fp32.exists():
        model = AutoModelForTokenClassification.from_pretrained(folder / "hf", attn_implementation="eager").eval()
        to_onnx(model, fp32, [101, 2023, 102], masked=True)
    if way == "dynamic" and not dynamic.exists():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(str(fp32), str(dynamic), weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = cores, 3
    path = str(dynamic if way == "dynamic" else fp32)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def ask_product(cores: int) -> None:
    """The largest of the rates of each shape, in operations a second: 2 for each product of two numbers."""
    from ner.models.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    rng = np.random.default_rng(1)
    sessions = []
    for deep, wide in _SHAPES:
        model = product(rng.integers(-127, 127, (deep, wide)).astype(np.int8))
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        sessions.append((session, rng.integers(0, 255, (_ROWS, deep)).astype(np.uint8), 2 * _ROWS * deep * wide))
    for _ in sys.stdin:
        rates = [product_rate(*one) for one in sessions]
        answer(max(rates, key=lambda rate: rate["done"] / rate["cpu" if cores == 1 else "wall"]))


def product_rate(session: Any, values: Any, operations: int) -> dict[str, float]:
    times = max(1, _OPERATIONS // len(_SHAPES) // operations)
    return {"done": times * operations, **timed(lambda: [session.run(None, {"x": values}) for _ in range(times)])}


def product(weight: Any) -> bytes:
    """A graph of one MatMulInteger."""
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.uint8(128), "zero")]
    node = helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"])
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, [_ROWS, weight.shape[0]])
    made = helper.make_tensor_value_info("y", TensorProto.INT32, [_ROWS, weight.shape[1]])
    graph = helper.make_graph([node], "product", [given], [made], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def operations_a_text(folder: Path, texts: Sequence[str]) -> float:
    """Integer operations that a text takes in the mean: 2 for each of its tokens and each weight of a product."""
    try:
        import onnx

        from ner.models.bundle import MODEL, load_bundle
        from ner.windows import windows
    except ImportError:
        return 0.0
    bundle = load_bundle(bundle_of(folder))
    graph = onnx.load(str(bundle.path / MODEL)).graph
    sizes = {one.name: int(np.prod(one.dims)) for one in graph.initializer}
    weights = sum(sizes[node.input[1]] for node in graph.node if node.op_type == "MatMulIntegerToFloat")
    special, length, tokens = bundle.encoder.num_special, bundle.manifest.max_length, 0
    for text in texts:
        parts = windows(len(bundle.encoder.encode(text).ids), length, special)
        tokens += sum(part.end - part.start + special for part in parts)
    return 2.0 * weights * tokens / len(texts)


def bundle_of(folder: Path) -> Path:
    (path,) = (manifest.parent for manifest in (folder / "models").rglob("manifest.json"))
    return path


if __name__ == "__main__":
    main()
