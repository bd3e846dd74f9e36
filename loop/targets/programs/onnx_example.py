"""Lines of {"text": ...} on standard input, lines of {"spans": [...]} out: python example.py < texts.jsonl

Needs onnxruntime, tokenizers and numpy. decoding.py, beside this file, cuts windows and decodes tags.
"""

import json
import sys

import numpy as np
from decoding import HERE, entities
from onnxruntime import InferenceSession

session = InferenceSession(HERE / "model.onnx")


def logits(ids):
    return session.run(["logits"], {"input_ids": np.array([ids])})[0][0]


for line in sys.stdin:
    print(json.dumps({"spans": entities(json.loads(line)["text"], logits)}))
