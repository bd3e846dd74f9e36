"""Where the time of the served graph goes, by operator: python -m scripts.bench.serving.operators MODEL

MODEL is the folder of a bundle. The windows of StackOverflow's dev (LOOP_SHARED_DATA) are read in shared runs, as many
texts are served, and alone, on one thread with ONNX Runtime's own profiler. Prints a Markdown table of shares.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ner.models.bundle import MODEL, load_bundle
from ner.models.runtime import onnxruntime
from scripts.bench.serving.predict import ROOT, read_texts

TEXTS = 1000
_DATA = Path(os.environ.get("LOOP_SHARED_DATA", ROOT.parent / "shared/data"))


def main() -> None:
    folder = Path(sys.argv[1])
    bundle = load_bundle(folder)
    windows = [bundle.encoder.frame(bundle.encoder.encode(text).ids) for text in read_texts(_DATA, TEXTS)]
    windows = [ids for ids in windows if len(ids) <= bundle.manifest.max_length]
    together = profiled(folder / MODEL, windows, bundle.network.runs([len(ids) for ids in windows]))
    alone = profiled(folder / MODEL, windows, [[place] for place in range(len(windows))])
    print("| operator | share of the time in shared runs | alone |\n| --- | --- | --- |")
    for name, _ in together.most_common():
        shares = [100 * one[name] / one.total() for one in (together, alone)]
        if max(shares) >= 1:
            print(f"| {name} | {shares[0]:.1f} % | {shares[1]:.1f} % |")


def profiled(path: Path, windows: Sequence[list[int]], runs: Sequence[Sequence[int]]) -> Counter[str]:
    """Microseconds in each operator."""
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        options.enable_profiling, options.profile_file_prefix = True, str(Path(scratch) / "profile")
        providers, slower = ["CPUExecutionProvider"], ["SkipLayerNormFusion"]  # as `ner.models.network` opens a file
        session = onnxruntime.InferenceSession(str(path), options, providers=providers, disabled_optimizers=slower)
        for run in runs:
            session.run(None, {"input_ids": np.array([windows[place] for place in run], dtype=np.int64)})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return spent


if __name__ == "__main__":
    main()
