"""In an environment with peft alone: python ask_adapter.py ADAPTER BASE DECODER < texts.jsonl

Loads the adapter by its own load.py. DECODER is a folder with decoding.py, as the target onnx has one.
"""

import json
import runpy
import sys

import torch

torch.set_num_threads(1)
model = runpy.run_path(f"{sys.argv[1]}/load.py")["load"](sys.argv[2]).merge_and_unload()
sys.path.insert(0, sys.argv[3])
entities = runpy.run_path(f"{sys.argv[3]}/decoding.py")["entities"]


def logits(ids):
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].numpy()


for line in sys.stdin:
    print(json.dumps({"spans": entities(json.loads(line)["text"], logits)}))
