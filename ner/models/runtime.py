"""ONNX Runtime is imported only here, because its official builds from 1.29 on report their use to Microsoft.

These builds report each process, session and model over HTTPS, and leave a temporary file, unless the variable
ORT_DISABLE_TELEMETRY is 1 when the library is loaded. To set it later has no effect. This project serves the texts of
customers, often where nothing may leave the machine. (docs/Privacy.md of ONNX Runtime.)
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime  # which reads that variable while it is imported
from onnxruntime.capi import onnxruntime_pybind11_state as errors

__all__ = ["errors", "onnxruntime"]
