"""What `predict` serves: one set of weights as a `transformers` folder and as a bundle, and a store.

    .venv/bin/python -m scripts.bench.serving.prepare_backend FOLDER [--model TRANSFORMERS_FOLDER] < texts.json

FOLDER gets hf/, models/ and loop.db, whose one project has pulled the texts (a JSON list) as tasks 1, 2, ... Without
--model the weights are the packaged MiniLM with a random classifier; the ONNX file is made by the loop's own export.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TYPES = ("SOFTWARE", "OS", "HARDWARE", "VERSION", "ERROR")
CONFIG = '<View><Labels name="label" toName="text">{}</Labels><Text name="text" value="$text"/></View>'.format(
    "".join(f'<Label value="{name}"/>' for name in TYPES)
)
# The random classifier prefers O by this much, so that about as few texts hold an entity as in real answers.
_O_BIAS = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    prepare(options.folder, options.model, json.load(sys.stdin))


def prepare(folder: Path, source: Path | None, texts: Sequence[str]) -> None:
    """Write hf/ (transformers), models/ (a bundle of the same weights) and loop.db."""
    import torch

    from loop.training.encoder import load_base
    from loop.training.served_file.export import to_onnx
    from loop.training.served_file.quantise import quantise
    from ner.labels import LabelSet
    from ner.models.bundle import MODEL, TOKENIZER, Manifest, write_bundle

    torch.manual_seed(13)
    labels = LabelSet(TYPES)
    base = load_base(str(source) if source else "minilm", labels, 128)
    if source is None:
        with torch.no_grad():
            base.model.classifier.bias[0] += _O_BIAS
    base.model.config.id2label = dict(enumerate(labels.tags))
    base.model.save_pretrained(folder / "hf")
    base.tokenizer.save_pretrained(folder / "hf")
    version, path = prepare_store(folder / "loop.db", texts)
    building = folder / "models" / path.with_name("building")
    building.mkdir(parents=True)
    windows = [base.text_encoder.frame(base.text_encoder.encode(text).ids)[:128] for text in texts[:256]]
    to_onnx(base.model, building / "fp32.onnx", windows[0])
    quantise(building / "fp32.onnx", building / MODEL, windows)
    (building / "fp32.onnx").unlink()
    base.tokenizer.backend_tokenizer.save(str(building / TOKENIZER))
    manifest = Manifest(
        version=version,
        encoder="minilm",
        labels=TYPES,
        max_length=128,
        confidence="minimum_margin",
        created_at="2026-01-01T00:00:00+00:00",
        data_fingerprint="0" * 64,
        seed=13,
    )
    write_bundle(building, folder / "models" / path, manifest)


def prepare_store(database: Path, texts: Sequence[str]) -> tuple[str, Path]:
    """A store whose one project has pulled the texts as tasks 1, 2, ..., none held out; the promoted version."""
    from store.database.session import open_store
    from store.documents import NewDocument
    from store.projects import create_project, link
    from store.registry import finish_model, promote, start_model
    from store.runs import begin_run
    from store.tasks import upsert_tasks

    store = open_store(f"sqlite:///{database}")
    with store.transaction() as tx:
        project = create_project(tx, "bench", label_config=CONFIG, labels=TYPES, holdout_share=0.0)
        link(tx, project.id, "http://label-studio.test", 1)
        upsert_tasks(tx, project.id, [NewDocument(text, ls_task_id=key) for key, text in enumerate(texts, 1)])
        run = begin_run(tx, project.id, "retrain")
        fields: dict[str, Any] = {"settings": {}, "libraries": {}, "data_fingerprint": "0"}
        model = start_model(tx, project.id, run_id=run.id, encoder="minilm", seed=13, **fields)
        finish_model(tx, model.version, files={})
        promote(tx, project.id, model.version, reason="a benchmark", who="a benchmark")
        tx.commit()
    store.close()
    return model.version, Path(model.path)


if __name__ == "__main__":
    main()
