"""Time `/predict` with the local engine and with a Triton on the same machine, by turns; then kill Triton under load.

    .venv/bin/python -m scripts.bench.serving.remote_engine [--rounds 5] [--seconds 5] [--clients 4]

Both backends serve one bundle (the packaged MiniLM with a random classifier, INT8, made by the loop's own export), and
Triton runs the same ONNX file, one instance for each core. Each client has a kept-alive connection, and asks for one
text of examples/it_support a request. Texts a second and p99 are medians of the rounds. Also times
one window of 128 tokens as bytes (the protocol's binary extension) and as JSON. Prints Markdown.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ner.models.inference_server import InferenceServer
from scripts.bench.serving.prepare_backend import CONFIG, TYPES
from scripts.bench.serving.triton_server import free_port, triton, write_model

ROOT = Path(__file__).resolve().parents[3]
_TEXTS = ROOT / "examples" / "it_support" / "tasks.jsonl"
_PROJECT = "1.1795219575"
_MODEL = "ner"
_CALLS = 100


@dataclass(frozen=True)
class Round:
    """What the clients saw in one stretch: seconds of each answer, and what failed."""

    seconds: tuple[float, ...]
    failures: tuple[str, ...]
    took: float

    @property
    def rate(self) -> float:
        """Texts a second."""
        return len(self.seconds) / self.took

    def percentile(self, share: float) -> float:
        """Seconds below which this share of the answers lies."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    bodies = [body(json.loads(line)["text"]) for line in _TEXTS.read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        run(folder, bodies, options)


def prepare(folder: Path) -> None:
    """The bundle, the store and Triton's repository."""
    texts = [json.loads(line)["text"] for line in _TEXTS.read_text("utf-8").splitlines()]
    command = [sys.executable, "-m", "scripts.bench.serving.prepare_backend", str(folder)]
    subprocess.run(command, input=json.dumps(texts), text=True, check=True, cwd=ROOT)
    (graph,) = (folder / "models").rglob("model.onnx")
    cores = len(os.sched_getaffinity(0))
    write_model(folder / "repository", _MODEL, graph, 2 * len(TYPES) + 1, instances=cores)


def run(folder: Path, bodies: Sequence[bytes], options: argparse.Namespace) -> None:
    """Measure, and print."""
    port = free_port()
    with triton(folder / "repository", folder / "triton.log", port) as server:
        remote = {"ENGINE": server.url, "ENGINE_MODEL": _MODEL}
        with backend(folder, {}) as local_url, backend(folder, remote) as remote_url:
            wait_for(remote_url, "remote")
            urls = {"local": local_url, "remote": remote_url}
            rounds: dict[str, list[Round]] = {name: [] for name in urls}
            for _ in range(options.rounds):
                for name, url in urls.items():
                    rounds[name].append(load(url, bodies, options.clients, options.seconds))
            assert engine_of(remote_url) == "remote", "the remote engine fell back in the measurement"
            show(rounds)
            show_wire(server.url)
            killer = threading.Timer(options.seconds / 2, server.kill)
            killer.start()
            killed = load(remote_url, bodies, options.clients, options.seconds)
            killer.join()
            print(
                f"\nKilled under load: {len(killed.seconds):,} requests, {len(killed.failures)} failed, the slowest "
                f"took {1000 * max(killed.seconds):.0f} ms; {engine_of(remote_url)} answers."
            )
            started = time.monotonic()
            with triton(folder / "repository", folder / "triton.log", port):
                ready = time.monotonic()
                wait_for(remote_url, "remote")
                print(
                    f"Triton was ready again after {ready - started:.1f} s; {time.monotonic() - ready:.1f} s later",
                    end="",
                )
                print(" it answers.")


def show(rounds: dict[str, list[Round]]) -> None:
    """One row for each engine, and the ratio of the rates."""
    print("| engine | texts a second | p50 | p99 | failed |\n| --- | --- | --- | --- | --- |")
    for name, every in rounds.items():
        rate = statistics.median(one.rate for one in every)
        p50, p99 = (1000 * statistics.median(one.percentile(share) for one in every) for share in (0.5, 0.99))
        failed = sum(len(one.failures) for one in every)
        print(f"| {name} | {rate:.0f} | {p50:.1f} ms | {p99:.1f} ms | {failed} |")
    ratios = [far.rate / near.rate for near, far in zip(rounds["local"], rounds["remote"], strict=True)]
    print(f"\nremote / local, texts a second: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def show_wire(url: str) -> None:
    """The median time of one window as bytes and as JSON, by turns, and what of it is this process's own work."""
    window = np.ones((1, 128), np.int64)
    feeds = dict.fromkeys(("input_ids", "attention_mask"), ("INT64", window))
    servers = {"bytes": InferenceServer(url, 5.0), "JSON": InferenceServer(url, 5.0)}
    servers["JSON"]._extensions = frozenset()
    times: dict[str, list[float]] = {name: [] for name in servers}
    work: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(_CALLS):
        for name, one in servers.items():
            began, worked = time.monotonic(), time.thread_time()
            one.infer(_MODEL, feeds, "logits")
            times[name].append(1000 * (time.monotonic() - began))
            work[name].append(1000 * (time.thread_time() - worked))
    told = ", ".join(
        f"{statistics.median(times[name]):.2f} ms as {name} ({statistics.median(work[name]):.2f} ms in the backend)"
        for name in servers
    )
    print(f"\nOne window of 128 tokens through Triton: {told}")


@contextmanager
def backend(folder: Path, engine: dict[str, str]) -> Iterator[str]:
    """A backend process on the store, once it answers; gives its address."""
    port = free_port()
    own = {"LOOP_STORE_URL": f"sqlite:///{folder / 'loop.db'}", "MODEL_DIR": str(folder / "models"), "PORT": str(port)}
    with (folder / f"backend-{port}.log").open("wb") as log:
        environ = {**os.environ, **own, **engine, "LOG_LEVEL": "WARNING"}
        process = subprocess.Popen([sys.executable, "-m", "ml_backend"], env=environ, cwd=ROOT, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, None)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def wait_for(url: str, engine: str | None) -> None:
    """Return once the backend answers, and with this engine; raises RuntimeError after two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            found = engine_of(url)
        except OSError:
            found = "none yet"
        if found != "none yet" and engine in (None, found):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{url} has engine {engine}: {found}")


def engine_of(url: str) -> str:
    """The engine that the backend names."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", "/health")
    projects = json.loads(connection.getresponse().read())["projects"]
    connection.close()
    return str(next(iter(projects.values()))["engine"])


def load(url: str, bodies: Sequence[bytes], clients: int, seconds: float) -> Round:
    """Clients that ask without pause for so many seconds."""
    taken: list[float] = []
    failures: list[str] = []
    started = time.monotonic()

    def run(first: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        for one in cycle([*bodies[first:], *bodies[:first]]):
            began = time.monotonic()
            if began > started + seconds:
                break
            try:
                connection.request("POST", "/predict", one, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    failures.append(str(answer.status))
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()
            taken.append(time.monotonic() - began)
        connection.close()

    threads = [threading.Thread(target=run, args=(number * len(bodies) // clients,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Round(tuple(taken), tuple(failures), time.monotonic() - started)


def body(text: str) -> bytes:
    """A /predict body with one task, as Label Studio sends it."""
    task = {"id": None, "data": {"text": text}, "meta": {}, "project": 1}
    return json.dumps({"tasks": [task], "project": _PROJECT, "label_config": CONFIG, "params": {}}).encode()


if __name__ == "__main__":
    main()
