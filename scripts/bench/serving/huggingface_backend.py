"""The baseline of `scripts.bench.serving.predict`: a `transformers` pipeline behind `/predict`.

    gunicorn --worker-class gthread --threads 4 "scripts.bench.serving.huggingface_backend:create_app()"

It stands on Flask and gunicorn, as the backends of Label Studio's own examples do (`pip install flask gunicorn`). The
variable HF_MODEL names a model folder.
"""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask, Response, request
from transformers import pipeline

VERSION = "baseline"


def create_app() -> Flask:
    """`/predict` as Label Studio calls it; one result for each task, as the real backend gives."""
    tagger = pipeline("token-classification", model=os.environ["HF_MODEL"], aggregation_strategy="simple", device="cpu")
    batch_size = int(os.environ.get("HF_BATCH_SIZE", "1"))
    app = Flask("baseline")

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP"}

    @app.post("/predict")
    def predict() -> Response:
        texts = [task["data"]["text"] for task in request.get_json()["tasks"]]
        found = tagger(texts, batch_size=batch_size)
        results = [_prediction(text, entities) for text, entities in zip(texts, found, strict=True)]
        return Response(json.dumps({"results": results}), mimetype="application/json")

    return app


def _prediction(text: str, entities: list[dict[str, Any]]) -> dict[str, Any]:
    result = [_region(index, text, entity) for index, entity in enumerate(entities)]
    score = min((region["score"] for region in result), default=1.0)
    return {"result": result, "score": score, "model_version": VERSION}


def _region(index: int, text: str, entity: dict[str, Any]) -> dict[str, Any]:
    start, end = int(entity["start"]), int(entity["end"])
    return {
        "id": f"r{index}",
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "score": float(entity["score"]),
        "value": {"start": start, "end": end, "text": text[start:end], "labels": [entity["entity_group"]]},
    }
