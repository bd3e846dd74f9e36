"""How far models are from one another, by the comparison that `ner.models.remote_model` makes with a server's model.

    .venv/bin/python -m scripts.bench.fingerprints MODELS [MODELS ...]

MODELS is a folder of bundles of one project, such as `models/it-support`, all trained from the packaged MiniLM. Prints,
for each folder, the distances between its models, and from each served file to the FP32 weights of the same model.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import combinations
from pathlib import Path

from ner.models.bundle import MANIFEST, Bundle, load_bundle
from ner.models.network import Network
from ner.models.remote_model import TOLERANCE, Fingerprint


def main() -> None:
    print("| models | INT8 to FP32 of one model | two models | tolerance |\n| --- | --- | --- | --- |")
    for name in sys.argv[1:]:
        bundles = [load_bundle(folder.parent) for folder in sorted(Path(name).glob(f"*/{MANIFEST}"))]
        own = [to_fp32(bundle) for bundle in bundles if bundle.manifest.precision != "FP32"]
        others = [
            Fingerprint.of(first).distance(second.network.logits)
            for first, second in combinations(bundles, 2)
            if first.labels == second.labels
        ]
        print(f"| {len(bundles)} | {spread(own)} | {spread(others)} | {TOLERANCE} |", flush=True)


def to_fp32(bundle: Bundle) -> float:
    """The distance from the served file to the FP32 weights, in nats."""
    from loop.judging.fp32_process import rebuild, recorded_settings
    from loop.training.encoder import load_base
    from loop.training.trainer import reproducible

    with tempfile.TemporaryDirectory() as workspace, reproducible(13, 1):
        base = load_base("minilm", bundle.labels, bundle.manifest.max_length)
        rebuilt = rebuild(bundle, base, recorded_settings(bundle.manifest), Path(workspace))
        return Fingerprint.of(bundle).distance(Network(rebuilt.fp32).logits)


def spread(values: list[float]) -> str:
    """The smallest and the largest."""
    return f"{min(values):.2f} to {max(values):.2f}" if values else "none"


if __name__ == "__main__":
    main()
