"""ONNX Runtime, imported here alone: its official builds of release 1.29 and later report their use to Microsoft.

They report each process, session and model over HTTPS, and leave a file among the temporary ones, unless the variable
ORT_DISABLE_TELEMETRY stands at 1 when the library is loaded; telling it later is too late. Texts of customers are
served here, often where nothing may leave the machine. (docs/Privacy.md of ONNX Runtime.)
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime  # which reads that variable while it is imported
from onnxruntime.capi import onnxruntime_pybind11_state as errors

__all__ = ["errors", "onnxruntime"]
