"""Lines of {"text": ...} on standard input, lines of {"spans": [...]} out: python example.py < texts.jsonl

Needs openvino, tokenizers and numpy. decoding.py, beside this file, cuts windows and decodes tags.
"""

import json
import sys

import numpy as np
import openvino
from decoding import HERE, entities

# Without the hint, OpenVINO computes in bfloat16 on processors that have it: faster, and a few spans differ.
model = openvino.compile_model(HERE / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def logits(ids):
    window = np.array([ids])
    return model({"input_ids": window, "attention_mask": np.ones_like(window)})["logits"][0]


for line in sys.stdin:
    print(json.dumps({"spans": entities(json.loads(line)["text"], logits)}))
