"""A real Triton on this machine, from the wheel of nvidia-pytriton: only the server, and its backend for Python models.

The wheel is installed once, without its dependencies, into a folder of its own. The model of the repository runs an
ONNX file with the numpy and the onnxruntime of the interpreter that runs this.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

WHEEL = "nvidia-pytriton==0.7.0"
CACHE = Path(os.environ.get("TRITON_FOLDER") or Path(tempfile.gettempdir()) / f"ner-loop-triton-0.7.0-{os.getuid()}")
_START_SECONDS = 60.0

_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 32
input [
  {{ name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] }},
  {{ name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] }}
]
output [ {{ name: "logits" data_type: TYPE_FP32 dims: [ -1, {tags} ] }} ]
instance_group [ {{ kind: KIND_CPU count: {instances} }} ]
"""
# Answers one request at a time, as this project's own network answers a lone request.
_MODEL = """\
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.path += PACKAGES
import numpy
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [one.name for one in self.session.get_inputs()]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        # The wheel was built for numpy 1, and garbles arrays of numpy 2 on either way; through DLPack they stay whole.
        feeds = {name: numpy.from_dlpack(triton.get_input_tensor_by_name(request, name)) for name in self.names}
        logits = self.session.run(["logits"], feeds)[0]
        return triton.InferenceResponse([triton.Tensor.from_dlpack("logits", logits)])
"""


def write_model(repository: Path, name: str, graph: Path, tags: int, *, version: int = 1, instances: int = 1) -> None:
    """Put an ONNX file of `tags` logits a token into a model repository."""
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    shutil.copy(graph, folder / "model.onnx")
    packages = sorted({str(Path(str(find_spec(name).origin)).parents[1]) for name in ("numpy", "onnxruntime")})
    (folder / "model.py").write_text(_MODEL.replace("PACKAGES", repr(packages)), "utf-8")
    (folder.parent / "config.pbtxt").write_text(_CONFIG.format(name=name, tags=tags, instances=instances), "utf-8")


@dataclass
class Triton:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    url: str

    def kill(self) -> None:
        """End it at once, as a crash does, and its model processes, which would wait for it for ever."""
        models = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(20)
        for process in models:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def triton(repository: Path, log: Path, port: int | None = None) -> Iterator[Triton]:
    """Triton on a model repository, once every model is ready; the server ends with the block."""
    number = port or free_port()
    with log.open("ab") as file:
        process = subprocess.Popen(_command(repository, number), env=_environ(), stdout=file, stderr=file)
    try:
        _wait(process, f"http://127.0.0.1:{number}", log)
        yield Triton(process, f"http://127.0.0.1:{number}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def install() -> Path:
    """The folder of the server, which is installed on first use; a process that is killed leaves it undone."""
    if not CACHE.exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f"{CACHE.name}-", dir=CACHE.parent))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--no-compile", "--target", str(building), WHEEL], check=True)
        _add_python_backend(building)
        try:
            building.rename(CACHE)
        except OSError:  # another process was faster
            shutil.rmtree(building)
    return CACHE


def _add_python_backend(folder: Path) -> None:
    """The backend for Python models looks for the program of its Python beside itself."""
    server = folder / "pytriton" / "tritonserver"
    stub = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(server / "python_backend_stubs" / stub / "triton_python_backend_stub", server / "backends" / "python")


def _command(repository: Path, port: int) -> list[str]:
    server = install() / "pytriton" / "tritonserver"
    return [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={server / 'backends'}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--exit-timeout-secs=0",  # else it waits for connections that a client keeps open
    ]


def _environ() -> dict[str, str]:
    """The program of the backend for Python models is linked with a shared libpython."""
    libraries = [str(CACHE / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"Triton did not start: {log.read_text('utf-8', 'replace')[-2000:]}")
