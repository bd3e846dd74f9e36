"""For Triton without its ONNX backend: its Python backend runs the exported model.onnx, batch by batch."""

from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):  # noqa: ARG002  (Triton gives it)
        self.session = onnxruntime.InferenceSession(Path(__file__).parent / "model.onnx")

    def execute(self, requests):
        """Requests that the dynamic batcher put together have one shape, and become one batch."""
        names = [one.name for one in self.session.get_inputs()]
        parts = [[pb_utils.get_input_tensor_by_name(one, name).as_numpy() for one in requests] for name in names]
        logits = self.session.run(["logits"], dict(zip(names, map(np.concatenate, parts), strict=True)))[0]
        ends = np.cumsum([len(part) for part in parts[0]])[:-1]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("logits", part)]) for part in np.split(logits, ends)]
