"""What loading ONNX Runtime does beside loading it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("said", [None, "0", "1"])
@pytest.mark.parametrize("module", ["ner.network", "loop.training.quantise"])
def test_onnx_runtime_reports_nothing_to_anybody(tmp_path: Path, module: str, said: str | None) -> None:
    """Its telemetry leaves a file among the temporary ones as soon as it is loaded."""
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environ |= {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environ |= {} if said is None else {"ORT_DISABLE_TELEMETRY": said}
    subprocess.run([sys.executable, "-c", f"import {module}"], env=environ, check=True)
    assert not list(tmp_path.rglob("*.ses"))


def test_no_other_module_loads_onnx_runtime_first() -> None:
    root = Path(__file__).parents[2]
    rooms = ("ner", "store", "weak_labeling", "ml_backend", "loop", "scripts")
    importing = {
        str(file.relative_to(root))
        for room in rooms
        for file in (root / room).rglob("*.py")
        if any(line.startswith(("import onnxruntime", "from onnxruntime")) for line in file.read_text().splitlines())
    }
    assert importing == {"ner/runtime.py"}
