"""What loading ONNX Runtime does beside loading it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("ner.models.network", None),
        ("ner.models.network", "0"),
        ("ner.models.network", "1"),
        ("loop.training.served_file.quantise", None),
    ],
)
def test_onnx_runtime_reports_nothing_to_anybody(tmp_path: Path, module: str, said: str | None) -> None:
    """Its telemetry leaves a file among the temporary ones as soon as it is loaded."""
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environ |= {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environ |= {} if said is None else {"ORT_DISABLE_TELEMETRY": said}
    subprocess.run([sys.executable, "-c", f"import {module}"], env=environ, check=True)
    assert not list(tmp_path.rglob("*.ses"))


# Programs that run by themselves, in an environment without this project.
_ALONE = {"loop/targets/programs/onnx_example.py", "scripts/bench/targets/triton_stand_in.py"}


def test_no_other_module_loads_onnx_runtime_first() -> None:
    root = Path(__file__).parents[3]
    rooms = ("ner", "store", "weak_labeling", "ml_backend", "loop", "scripts")
    files = [file for room in rooms for file in (root / room).rglob("*.py")]
    importing = {str(file.relative_to(root)) for file in files if "onnxruntime" in imported(file)}
    assert importing - _ALONE == {"ner/models/runtime.py"}


def imported(file: Path) -> set[str]:
    """The packages that a file imports at its top level."""
    names: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names
