"""`/predict` over HTTP: this backend against a `transformers` pipeline behind the same Flask route.

    .venv/bin/python scripts/bench_predict.py [--texts 800] [--rounds 5] [--workers 1] [--threads 4] [--model FOLDER]

Both serve the same weights under gunicorn with the same worker class, workers and threads, and answer the same
requests, as Label Studio sends them, for distinct real sentences (StackOverflow, dev). Clients are processes of their
own on the same machine, with kept-alive connections. Rounds alternate between the two, so that a busy machine is busy
for both; a figure is the median of its rounds. Prints a Markdown table.

--model: a folder of transformers (a merged token classifier) to serve instead of the packaged MiniLM with a random
classifier, which costs the same time. The ONNX file is made by the loop's own export.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from prepare_backend import CONFIG

ROOT = Path(__file__).resolve().parents[1]
_PROJECT = "1.1795219575"
_HEAD = b"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True)
class Scenario:
    """How many clients ask at once, and for how many texts each time."""

    clients: int
    texts: int

    def __str__(self) -> str:
        return f"{self.clients} client{'s' * (self.clients > 1)}, {self.texts} text{'s' * (self.texts > 1)} a request"


@dataclass(frozen=True)
class Figures:
    """Of one round: texts a second, and the time of each request in seconds."""

    texts_per_second: float
    seconds: list[float]

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


@dataclass
class Server:
    """One of the two, running."""

    name: str
    process: subprocess.Popen[bytes]
    address: str

    def memory(self) -> tuple[float, float]:
        """(RSS, PSS) in MB, summed over its processes; PSS counts shared pages once."""
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        used = [process.memory_full_info() for process in processes]
        return sum(one.rss for one in used) / 2**20, sum(one.pss for one in used) / 2**20


def main() -> None:
    options = read_options()
    texts = read_texts(options.data, options.texts)
    with tempfile.TemporaryDirectory(prefix="bench-predict-") as name:
        folder = options.folder or Path(name)
        if not (folder / "loop.db").exists():
            # In a process of its own: the clients are forked from this one, which therefore stays small.
            command = [sys.executable, str(ROOT / "scripts" / "prepare_backend.py"), str(folder)]
            command += ["--model", str(options.model)] if options.model else []
            subprocess.run(command, input=json.dumps(texts), text=True, check=True)
        with ours(folder, options) as backend, baseline(folder, options) as pipeline:
            measure([backend, pipeline], texts, options)


def read_options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a round takes at least")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1, help="of the pipeline; 1 is its default")
    parser.add_argument("--model", type=Path)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("LOOP_SHARED_DATA", ROOT.parent / "shared/data"))
    )
    parser.add_argument("--folder", type=Path, help="where to keep what is prepared, and to find it again")
    return parser.parse_args()


def read_texts(data: Path, number: int) -> list[str]:
    """Distinct sentences that are not blank, in the file's order."""
    with (data / "stackoverflow-ner" / "dev.jsonl").open(encoding="utf-8") as lines:
        texts = dict.fromkeys(json.loads(line)["text"] for line in lines)
    return [text for text in texts if text.strip()][:number]


@contextmanager
def ours(folder: Path, options: Any) -> Iterator[Server]:
    port = free_port()
    environ = {
        "LOOP_STORE_URL": f"sqlite:///{folder / 'loop.db'}",
        "MODEL_DIR": str(folder / "models"),
        "PORT": str(port),
        "WORKERS": str(options.workers),
        "THREADS": str(options.threads),
    }
    with serving("this backend", [sys.executable, "-m", "ml_backend"], environ, port, folder) as server:
        yield server


@contextmanager
def baseline(folder: Path, options: Any) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", str(options.workers)]
    command += ["--threads", str(options.threads), "--bind", f"127.0.0.1:{port}", "--keep-alive", "75"]
    command += ["--no-control-socket", "--timeout", "600", "scripts.huggingface_backend:create_app()"]
    environ = {"HF_MODEL": str(folder / "hf"), "HF_BATCH_SIZE": str(options.batch_size)}
    with serving("transformers pipeline", command, environ, port, folder) as server:
        yield server


@contextmanager
def serving(name: str, command: list[str], environ: dict[str, str], port: int, folder: Path) -> Iterator[Server]:
    with (folder / f"{name.split()[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, stdout=log, stderr=log)
    try:
        server = Server(name, process, f"127.0.0.1:{port}")
        wait_until_up(server)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def wait_until_up(server: Server) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.process.poll() is None:
        connection = http.client.HTTPConnection(server.address, timeout=60)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            connection.close()
    raise RuntimeError(f"{server.name} did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(servers: Sequence[Server], texts: Sequence[str], options: Any) -> None:
    scenarios = [Scenario(1, 1), Scenario(4, 1), Scenario(1, 100)]
    figures: dict[tuple[Scenario, str], list[Figures]] = {}
    for server in servers:
        run_round(server.address, Scenario(4, 10), texts, 2.0)
    for _ in range(options.rounds):
        for scenario in scenarios:
            for server in servers:
                figures.setdefault((scenario, server.name), []).append(
                    run_round(server.address, scenario, texts, options.seconds)
                )
    report(servers, scenarios, figures)


def run_round(address: str, scenario: Scenario, texts: Sequence[str], seconds: float) -> Figures:
    """Every client asks for its own share of the texts, again and again, for `seconds`."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(scenario.clients + 1)
    answers: Any = context.SimpleQueue()
    shares = [list(enumerate(texts, 1))[number :: scenario.clients] for number in range(scenario.clients)]
    clients = [
        context.Process(target=ask, args=(address, requests_for(share, scenario.texts), seconds, ready, answers))
        for share in shares
    ]
    for client in clients:
        client.start()
    ready.wait()
    began = time.perf_counter()
    times = [answers.get() for _ in clients]
    wall = max(ended for ended, _ in times) - began
    for client in clients:
        client.join()
    every = [one for _, some in times for one in some]
    return Figures(len(every) * scenario.texts / wall, every)


def requests_for(share: Sequence[tuple[int, str]], size: int) -> list[bytes]:
    """The requests, head and body, made beforehand; each holds `size` texts."""
    groups = [share[at : at + size] for at in range(0, len(share) - size + 1, size)]
    bodies = [json.dumps(request(group)).encode() for group in groups]
    return [_HEAD % len(body) + body for body in bodies]


def request(group: Sequence[tuple[int, str]]) -> dict[str, Any]:
    stamp = "2026-11-20T12:00:00.000000Z"
    fields: dict[str, Any] = {"meta": {}, "created_at": stamp, "updated_at": stamp, "overlap": 1, "project": 1}
    tasks = [{"id": key, "data": {"text": text}, **fields, "is_labeled": False} for key, text in group]
    params = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "project": _PROJECT, "label_config": CONFIG, "params": params}


def ask(address: str, requests: list[bytes], seconds: float, ready: Any, answers: Any) -> None:
    """One client: one kept-alive connection, the requests in turn until the time is over.

    On a bare socket: the client shares two cores with what it measures, and http.client takes 0.3 ms an answer.
    """
    host, _, port = address.partition(":")
    times = []
    with socket.create_connection((host, int(port)), timeout=600) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.wait()
        deadline = time.perf_counter() + seconds
        while (began := time.perf_counter()) < deadline:
            connection.sendall(requests[len(times) % len(requests)])
            answer = receive(connection)
            times.append(time.perf_counter() - began)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(repr(answer[:500]))
    answers.put((time.perf_counter(), times))


def receive(connection: socket.socket) -> bytes:
    """One whole answer, head and body, of the length that its head names."""
    answer = connection.recv(1 << 20)
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += connection.recv(1 << 20)
    found = re.search(rb"\r\ncontent-length: *([0-9]+)", answer[: end + 2].lower())
    if found is None:
        raise RuntimeError(f"an answer without its length: {answer[:500]!r}")
    parts, missing = [answer], end + 4 + int(found.group(1)) - len(answer)
    while missing > 0:
        parts.append(connection.recv(1 << 20))
        missing -= len(parts[-1])
    return b"".join(parts)


def report(servers: Sequence[Server], scenarios: Sequence[Scenario], figures: Any) -> None:
    mine, other = servers

    def median(scenario: Scenario, server: Server, value: Callable[[Figures], float]) -> float:
        return statistics.median(value(round_) for round_ in figures[scenario, server.name])

    print("| | " + " | ".join(f"{s.name}: texts/s | p50 ms | p99 ms" for s in servers) + " | ratio (rounds) |")
    print("| --- |" + " --- |" * 7)
    for scenario in scenarios:
        cells = []
        for server in servers:
            cells.append(f"{median(scenario, server, lambda f: f.texts_per_second):,.0f}")
            cells += [f"{1000 * median(scenario, server, lambda f, q=q: f.percentile(q)):,.1f}" for q in (0.5, 0.99)]
        pairs = zip(figures[scenario, mine.name], figures[scenario, other.name], strict=True)
        ratios = sorted(one.texts_per_second / two.texts_per_second for one, two in pairs)
        spread = f"**{statistics.median(ratios):.1f}** ({ratios[0]:.1f}-{ratios[-1]:.1f})"
        print(f"| {scenario} | " + " | ".join(cells) + f" | {spread} |")
    for server in servers:
        rss, pss = server.memory()
        print(f"\n{server.name}: {rss:,.0f} MB RSS, {pss:,.0f} MB PSS over all its processes")


if __name__ == "__main__":
    main()
