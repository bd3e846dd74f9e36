"""The WSGI app under servers that `scripts.bench.serving.predict` cannot start by a command line of theirs.

python -m scripts.bench.serving.wsgi_servers {tornado,hypercorn} PORT THREADS
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main() -> None:
    name, port, threads = sys.argv[1:]
    app = importlib.import_module("ml_backend.wsgi").application()
    asyncio.run({"tornado": run_tornado, "hypercorn": run_hypercorn}[name](app, int(port), int(threads)))


async def run_tornado(app: Any, port: int, threads: int) -> None:
    from tornado.httpserver import HTTPServer
    from tornado.wsgi import WSGIContainer

    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    HTTPServer(WSGIContainer(app, ThreadPoolExecutor(threads))).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


async def run_hypercorn(app: Any, port: int, threads: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
    config = Config.from_mapping(bind=[f"127.0.0.1:{port}"])
    await serve(app, config, mode="wsgi", shutdown_trigger=asyncio.Event().wait)


if __name__ == "__main__":
    main()
