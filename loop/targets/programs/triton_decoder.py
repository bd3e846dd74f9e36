"""Triton's last step: the logits of a text's windows to its spans, as JSON. Needs tokenizers in the server's Python."""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(Path(__file__).parent))
from decoding import entities


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(one) for one in requests]

    def answer(self, request):
        text, logits = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("TEXT", "logits"))
        rows = iter(logits)
        found = entities(text.reshape(-1)[0].decode("utf-8"), lambda _: next(rows))
        spans = np.array([json.dumps(found).encode("utf-8")], dtype=np.object_)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("SPANS", spans)])
