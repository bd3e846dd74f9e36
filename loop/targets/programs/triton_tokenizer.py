"""Triton's first step: one text to the windows that the model reads. Needs tokenizers in the server's Python."""

import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(Path(__file__).parent))
from decoding import ENCODE, windows


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(one, "TEXT").as_numpy()) for one in requests]

    def answer(self, given):
        ids = ENCODE(given.reshape(-1)[0].decode("utf-8"), add_special_tokens=False).ids
        read = np.array([framed for _, framed in windows(ids)], dtype=np.int64)
        tensors = [pb_utils.Tensor("input_ids", read), pb_utils.Tensor("attention_mask", np.ones_like(read))]
        return pb_utils.InferenceResponse(output_tensors=tensors)
