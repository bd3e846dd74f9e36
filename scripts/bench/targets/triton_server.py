"""A real Triton, from the wheel of nvidia-pytriton, on an exported repository.

The wheel has Triton's Python backend and no other. So the one model whose backend is "onnxruntime" is run by a Python
model (triton_stand_in.py) on the same file; every other word of the repository is as it was exported.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

STAND_IN = Path(__file__).with_name("triton_stand_in.py")
STARTING_SECONDS = 60
CLIENTS = 8


@contextmanager
def serving(repository: Path, environment: Path, scratch: Path) -> Iterator[str]:
    """The server's address; `environment` is one in which nvidia-pytriton, onnxruntime and tokenizers are installed."""
    models, backends = scratch / "repository", scratch / "backends"
    shutil.copytree(repository, models)
    stand_in(models)
    [packages] = (environment / "lib").glob("python3.*/site-packages")
    server = packages / "pytriton" / "tritonserver"
    shutil.copytree(server / "backends", backends)
    stub = server / "python_backend_stubs" / packages.parent.name.removeprefix("python") / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    port = free_port()
    words = [str(server / "bin" / "tritonserver"), "--model-repository", str(models)]
    words += ["--backend-directory", str(backends), "--http-address", "127.0.0.1", "--http-port", str(port)]
    words += ["--allow-grpc", "false", "--allow-metrics", "false"]
    found = {
        "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(packages),
    }
    with (scratch / "log").open("w") as log:
        process = subprocess.Popen(words, env={**os.environ, **found}, stdout=log, stderr=log)
        try:
            wait(f"http://127.0.0.1:{port}/v2/health/ready", process, scratch / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def stand_in(models: Path) -> None:
    """Put the Python model in the place of ONNX Runtime."""
    for config in models.glob("*/config.pbtxt"):
        text = config.read_text("utf-8")
        if 'backend: "onnxruntime"' in text:
            config.write_text(text.replace('backend: "onnxruntime"', 'backend: "python"'), "utf-8")
            shutil.copy(STAND_IN, config.parent / "1" / "model.py")


def ask(address: str, model: str, texts: Sequence[str]) -> list[str]:
    """The SPANS of each text, as JSON, by CLIENTS clients at once."""

    def one(text: str) -> str:
        given = {"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [text]}
        body = json.dumps({"inputs": [given]}).encode("utf-8")
        with urllib.request.urlopen(f"{address}/v2/models/{model}/infer", body) as answer:
            return str(json.load(answer)["outputs"][0]["data"][0])

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(one, texts))


def wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until every model is loaded."""
    end = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"Triton did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
