"""Time `/predict` over HTTP: several servers side by side, in one run.

    .venv/bin/python -m scripts.bench.serving.predict [CONTENDER ...] [--rounds 5] [--slow 1000] [--workers 1]
        [--threads 4]

A contender is one of
    this             `python -m ml_backend` of this checkout
    a folder         `python -m ml_backend` of another checkout, such as a `git worktree` of an earlier commit
    pipeline         a `transformers` pipeline behind the same route, under Flask and gunicorn, as Label Studio's own
                     backends are (scripts/bench/serving/huggingface_backend.py)
    waitress, granian, gunicorn, gunicorn-h1c, tornado, hypercorn
                     the WSGI app of the checkout that --wsgi names, under that server
By default: this pipeline. Ratios compare each contender with the last one. What is not installed with the project:
`pip install flask gunicorn` for the pipeline, for the others the server of that name.

All contenders serve the same weights with as many workers and threads, and answer the same requests, as Label Studio
sends them, for distinct real sentences (StackOverflow, dev). Clients are processes of their own on the same machine,
with kept-alive connections. The rounds alternate between the contenders, so that a busy machine is busy for all of
them; a figure is the median of its rounds. Prints a Markdown table.

--slow N: times one healthy client alone, and then beside 2N slow clients (slow_clients.py), by turns.
--empty: requests without tasks, which cost what HTTP and JSON cost and nothing else.
--model: a folder of transformers (a merged token classifier) to serve instead of the packaged MiniLM with a random
classifier, which costs the same time. The ONNX file is made by the loop's own export.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
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
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from scripts.bench.serving.prepare_backend import CONFIG
from scripts.bench.serving.slow_clients import slow_clients

ROOT = Path(__file__).resolve().parents[3]
_PROJECT = "1.1795219575"
_HEAD = b"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
# In the answers of all contenders a task has one of these, and a region has none.
_RESULT = b'"model_version":'
# A healthy client waits for so long beside slow ones; then its answer counts as none.
_PATIENCE_SECONDS = 15.0
_APP = "ml_backend.wsgi:application"
_PIPELINE = "scripts.bench.serving.huggingface_backend:create_app"
_GUNICORN = (
    "gunicorn --worker-class gthread --workers {workers} --threads {threads} --bind 127.0.0.1:{port} --keep-alive 75"
    " --worker-connections 10000 --timeout 600 --no-control-socket"
)
# Their documented options alone. Each may take more connections than the slow clients have.
_SERVERS = {
    "waitress": "waitress --host=127.0.0.1 --port={port} --threads={threads} --connection-limit=10000"
    f" --asyncore-use-poll --call {_APP}",
    "granian": "granian --interface wsgi --factory --http 1 --host 127.0.0.1 --port {port} --workers {workers}"
    f" --blocking-threads {{threads}} --backpressure 10000 {_APP}",
    "gunicorn": f"{_GUNICORN} --http-parser python {_APP}()",
    "gunicorn-h1c": f"{_GUNICORN} --http-parser fast {_APP}()",
    "tornado": "scripts.bench.serving.wsgi_servers tornado {port} {threads}",
    "hypercorn": "scripts.bench.serving.wsgi_servers hypercorn {port} {threads}",
    "pipeline": f"{_GUNICORN} {_PIPELINE}()",
}


@dataclass(frozen=True)
class Scenario:
    """How many clients ask at once, and for how many texts each time."""

    clients: int
    texts: int

    def __str__(self) -> str:
        return f"{self.clients} client{'s' * (self.clients > 1)}, {self.texts} text{'s' * (self.texts != 1)} a request"


@dataclass(frozen=True)
class Round:
    """What one round measured.

    per_second: texts (requests, where they are empty) over all clients. seconds: of each request (inf: no answer). cpu:
    seconds of processor time that the server took for a request. missing: tasks without a result.
    """

    per_second: float
    seconds: list[float]
    cpu: float
    missing: int

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


@dataclass
class Server:
    """A contender that runs."""

    name: str
    process: subprocess.Popen[bytes]
    address: str

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Processor time, of the user and of the system, that its processes have taken so far."""
        return sum(times.user + times.system for times in (one.cpu_times() for one in self.processes()))

    def memory(self) -> tuple[float, float]:
        """(RSS, PSS) in MB, summed over its processes; PSS counts shared pages once."""
        used = [process.memory_full_info() for process in self.processes()]
        return sum(one.rss for one in used) / 2**20, sum(one.pss for one in used) / 2**20


def main() -> None:
    options = read_options()
    texts = read_texts(options.data, options.texts)
    with tempfile.TemporaryDirectory(prefix="bench-predict-") as name, ExitStack() as stack:
        folder = options.folder or Path(name)
        servers = [stack.enter_context(serving(one, folder, texts, options)) for one in options.contenders]
        for server in servers:
            run_round(server, Scenario(4, 10), texts, 2.0)
        if options.slow:
            measure_slow(servers, texts, options)
        else:
            measure(servers, texts, options)


def read_options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contenders", nargs="*", default=["this", "pipeline"])
    parser.add_argument("--texts", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a round takes at least")
    parser.add_argument("--slow", type=int, default=0, metavar="N", help="half request heads, and as many slow bodies")
    parser.add_argument("--drip", type=float, default=5.0, help="seconds between two bytes of a slow body")
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100], help="texts a request")
    parser.add_argument("--wsgi", type=Path, metavar="FOLDER", help="a checkout with a WSGI app")
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
def serving(contender: str, folder: Path, texts: Sequence[str], options: Any) -> Iterator[Server]:
    """The contender, from when it answers until the end of the block."""
    checkout = checkout_of(contender, options)
    prepared = prepare(checkout, folder / ("this" if checkout == ROOT else checkout.name), texts, options)
    port = free_port()
    environ = {
        "LOOP_STORE_URL": f"sqlite:///{prepared / 'loop.db'}",
        "MODEL_DIR": str(prepared / "models"),
        "PORT": str(port),
        "WORKERS": str(options.workers),
        "THREADS": str(options.threads),
        "HF_MODEL": str(prepared / "hf"),
        "HF_BATCH_SIZE": str(options.batch_size),
        "PYTHONPATH": f"{checkout}:{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    words = _SERVERS.get(contender, "ml_backend").format(port=port, workers=options.workers, threads=options.threads)
    command = [sys.executable, "-m", *words.split()]
    with (folder / f"{Path(contender).name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=checkout, env={**os.environ, **environ}, stdout=log, stderr=log)
    try:
        server = Server(Path(contender).name, process, f"127.0.0.1:{port}")
        wait_until_up(server)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def checkout_of(contender: str, options: Any) -> Path:
    """The folder whose code the contender runs."""
    if contender in ("this", "pipeline"):
        return ROOT
    if contender in _SERVERS and options.wsgi is None:
        raise SystemExit(f"--wsgi names a checkout with {_APP}: {contender} needs one")
    return Path(options.wsgi if contender in _SERVERS else contender).resolve()


def prepare(checkout: Path, folder: Path, texts: Sequence[str], options: Any) -> Path:
    """A store and models as that checkout makes them; made by a process of its own, since clients are forked here."""
    if not (folder / "loop.db").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (script,) = (checkout / "scripts").rglob("prepare_backend.py")  # older checkouts have it elsewhere
        command = [sys.executable, str(script), str(folder)]
        command += ["--model", str(options.model)] if options.model else []
        environ = {**os.environ, "PYTHONPATH": str(checkout)}
        subprocess.run(command, input=json.dumps(texts), text=True, check=True, env=environ, cwd=checkout)
    return folder


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
    """Throughput and latency of every contender in each scenario."""
    sizes = [0] if options.empty else options.sizes
    scenarios = [Scenario(clients, texts) for texts in sizes for clients in options.clients]
    rounds: dict[tuple[Scenario, str], list[Round]] = {(s, one.name): [] for s in scenarios for one in servers}
    for _ in range(options.rounds):
        for scenario in scenarios:
            for server in servers:
                done = run_round(server, scenario, texts, options.seconds)
                rounds[scenario, server.name].append(done)
    report(servers, scenarios, rounds)


def measure_slow(servers: Sequence[Server], texts: Sequence[str], options: Any) -> None:
    """The latency of one healthy client, alone and beside the slow ones."""
    rounds: dict[tuple[str, bool], list[Round]] = {(one.name, slow): [] for one in servers for slow in (False, True)}
    for _ in range(options.rounds):
        for server in servers:
            for slow in (False, True):
                beside = slow_clients(server.address, options.slow, options.drip) if slow else nullcontext()
                with beside:
                    rounds[server.name, slow].append(
                        run_round(server, Scenario(1, 1), texts, options.seconds, _PATIENCE_SECONDS)
                    )
            time.sleep(1.0)  # for the connections that were closed just now
    report_slow(servers, rounds, options)


def run_round(
    server: Server, scenario: Scenario, texts: Sequence[str], seconds: float, patience: float = 600.0
) -> Round:
    """Every client asks for its own share of the texts, again and again, for `seconds`."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(scenario.clients + 1)
    answers: Any = context.SimpleQueue()
    shares = shares_of(list(enumerate(texts, 1)), scenario)
    clients = [
        context.Process(
            target=ask, args=(server.address, requests_for(share, scenario.texts), seconds, patience, ready, answers)
        )
        for share in shares
    ]
    for client in clients:
        client.start()
    ready.wait()
    began, busy = time.perf_counter(), server.cpu_seconds()
    times = [answers.get() for _ in clients]
    wall = max(ended for ended, _, _ in times) - began
    busy = server.cpu_seconds() - busy
    for client in clients:
        client.join()
    every = [one for _, some, _ in times for one in some]
    answered = sum(math.isfinite(one) for one in every)
    missing = scenario.texts * len(every) - sum(results for _, _, results in times)
    return Round(answered * (scenario.texts or 1) / wall, every, busy / max(answered, 1), missing)


def shares_of(tasks: list[tuple[int, str]], scenario: Scenario) -> list[list[tuple[int, str]]]:
    """The tasks of each client: its own, or all from another place on where its own would not fill a request."""
    if len(tasks) >= scenario.clients * scenario.texts:
        return [tasks[number :: scenario.clients] for number in range(scenario.clients)]
    starts = [number * len(tasks) // scenario.clients for number in range(scenario.clients)]
    return [tasks[start:] + tasks[:start] for start in starts]


def requests_for(share: Sequence[tuple[int, str]], size: int) -> list[bytes]:
    """The requests, head and body, made beforehand; each holds `size` texts."""
    groups = [share[at : at + size] for at in range(0, len(share) - size + 1, size)] if size else [[]]
    bodies = [json.dumps(request(group)).encode() for group in groups]
    return [_HEAD % len(body) + body for body in bodies]


def request(group: Sequence[tuple[int, str]]) -> dict[str, Any]:
    stamp = "2026-11-20T12:00:00.000000Z"
    fields: dict[str, Any] = {"meta": {}, "created_at": stamp, "updated_at": stamp, "overlap": 1, "project": 1}
    tasks = [{"id": key, "data": {"text": text}, **fields, "is_labeled": False} for key, text in group]
    params = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "project": _PROJECT, "label_config": CONFIG, "params": params}


def ask(address: str, requests: list[bytes], seconds: float, patience: float, ready: Any, answers: Any) -> None:
    """One client: one kept-alive connection, the requests in turn until the time is over.

    On a bare socket: the client shares two cores with what it measures, and http.client takes 0.3 ms an answer.
    """
    host, _, port = address.partition(":")
    times, results = [], 0
    with socket.create_connection((host, int(port)), timeout=patience) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.wait()
        deadline = time.perf_counter() + seconds
        while (began := time.perf_counter()) < deadline:
            try:
                connection.sendall(requests[len(times) % len(requests)])
                answer = receive(connection)
            except OSError as error:
                answer = repr(error).encode()
            good = answer.startswith(b"HTTP/1.1 200 ")
            times.append(time.perf_counter() - began if good else math.inf)
            results += answer.count(_RESULT) if good else 0
            if not good:
                print(f"{address}: {answer[:200]!r}", file=sys.stderr)
                break
    answers.put((time.perf_counter(), times, results))


def receive(connection: socket.socket) -> bytes:
    """One whole answer, head and body, of the length that its head names."""
    answer = receive_some(connection)
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += receive_some(connection)
    found = re.search(rb"\r\ncontent-length: *([0-9]+)", answer[: end + 2].lower())
    if found is None:
        raise RuntimeError(f"an answer without its length: {answer[:500]!r}")
    parts, missing = [answer], end + 4 + int(found.group(1)) - len(answer)
    while missing > 0:
        parts.append(receive_some(connection))
        missing -= len(parts[-1])
    return b"".join(parts)


def receive_some(connection: socket.socket) -> bytes:
    if not (received := connection.recv(1 << 20)):
        raise ConnectionError("the server has closed the connection")
    return received


def report(servers: Sequence[Server], scenarios: Sequence[Scenario], rounds: Any) -> None:
    """A row for each contender in each scenario; the ratio is that of texts a second, round by round."""
    last = servers[-1].name
    print(
        f"| | server | texts/s (or requests/s) | p50 ms | p99 ms | CPU ms a request | tasks without a result |"
        f" times {last} (rounds) | CPU, {last} by it |"
    )
    print("| --- |" + " --- |" * 8)
    for scenario in scenarios:
        for server in servers:
            mine = rounds[scenario, server.name]
            ratios = [one.per_second / two.per_second for one, two in zip(mine, rounds[scenario, last], strict=True)]
            cells = [str(scenario), server.name, f"{median(mine, lambda r: r.per_second):,.0f}"]
            cells += [milliseconds(median(mine, lambda r, q=q: r.percentile(q))) for q in (0.5, 0.99)]
            cells += [milliseconds(median(mine, lambda r: r.cpu)), f"{sum(one.missing for one in mine):,}"]
            saved = [two.cpu / one.cpu for one, two in zip(mine, rounds[scenario, last], strict=True)]
            print("| " + " | ".join([*cells, spread(ratios), spread(saved)]) + " |")
    report_memory(servers)


def report_slow(servers: Sequence[Server], rounds: Any, options: Any) -> None:
    """A row for each contender; the ratio is that of the p99, round by round."""
    beside = f"beside {options.slow:,} half heads and {options.slow:,} slow bodies"
    print(f"| server | alone: p50 ms | p99 ms | {beside}: p50 ms | p99 ms | p99, times alone (rounds) |")
    print("| --- |" + " --- |" * 5)
    for server in servers:
        alone, crowded = rounds[server.name, False], rounds[server.name, True]
        cells = [server.name]
        for some in (alone, crowded):
            cells += [milliseconds(median(some, lambda r, q=q: r.percentile(q))) for q in (0.5, 0.99)]
        ratios = [two.percentile(0.99) / one.percentile(0.99) for one, two in zip(alone, crowded, strict=True)]
        print("| " + " | ".join([*cells, spread(ratios)]) + " |")
    report_memory(servers)


def report_memory(servers: Sequence[Server]) -> None:
    for server in servers:
        rss, pss = server.memory()
        print(f"\n{server.name}: {rss:,.0f} MB RSS, {pss:,.0f} MB PSS over all its processes")


def median(rounds: Sequence[Round], value: Callable[[Round], float]) -> float:
    return statistics.median(value(one) for one in rounds)


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}" if math.isfinite(seconds) else f"no answer in {_PATIENCE_SECONDS:.0f} s"


def spread(ratios: Sequence[float]) -> str:
    ordered = sorted(ratios)
    return f"**{statistics.median(ordered):.2f}** ({ordered[0]:.2f}-{ordered[-1]:.2f})"


if __name__ == "__main__":
    main()
