"""In an environment with transformers alone: python ask_pipeline.py FOLDER STRATEGY < texts.jsonl

Writes a line of {"spans": [...]} for each line of {"text": ...}, by the token-classification pipeline.
"""

import json
import sys

import torch
from transformers import pipeline

torch.set_num_threads(1)
find = pipeline("token-classification", model=sys.argv[1], aggregation_strategy=sys.argv[2])
for line in sys.stdin:
    groups = find(json.loads(line)["text"])
    spans = [{"start": one["start"], "end": one["end"], "label": one["entity_group"]} for one in groups]
    print(json.dumps({"spans": spans}))
