"""The adapter on its base, and the entities of a text: python load.py BASE "a text"

BASE is the folder or name of the base encoder. Needs torch, transformers and peft.
"""

import hashlib
import json
import sys
from pathlib import Path

from peft import PeftModel
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

HERE = Path(__file__).parent
BASE = json.loads((HERE / "base.json").read_text("utf-8"))


def load(source):
    tags = {name: number for number, name in enumerate(BASE["tags"])}
    names = {"id2label": {number: name for name, number in tags.items()}, "label2id": tags}
    model = AutoModelForTokenClassification.from_pretrained(source, ignore_mismatched_sizes=True, **names)
    digest = hashlib.sha256()
    for name, tensor in sorted(model.float().base_model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode() + tensor.contiguous().numpy().tobytes())
    if digest.hexdigest() != BASE["sha256"]:
        sys.exit(f"{source} is not the base of this adapter: its weights have SHA-256 {digest.hexdigest()}")
    return PeftModel.from_pretrained(model, str(HERE)).eval()


if __name__ == "__main__":
    merged = load(sys.argv[1]).merge_and_unload()
    find = pipeline("token-classification", merged, tokenizer=AutoTokenizer.from_pretrained(HERE))
    print(find(sys.argv[2], aggregation_strategy="simple"))
