"""Lines of {"text": ...} on standard input, lines of {"spans": [...]} out: python example.py < texts.jsonl

Needs torch, transformers and numpy. decoding.py, beside this file, cuts windows and decodes tags: long texts are read
whole, and the spans are those of the project that trained the model. The pipeline of transformers has rules of its own.
"""

import json
import sys

import torch
from decoding import HERE, entities
from transformers import AutoModelForTokenClassification

model = AutoModelForTokenClassification.from_pretrained(HERE).eval()


def logits(ids):
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].numpy()


for line in sys.stdin:
    print(json.dumps({"spans": entities(json.loads(line)["text"], logits)}))
