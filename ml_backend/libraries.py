"""What libraries are told by the environment, before they are first imported."""

from __future__ import annotations

import importlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from ml_backend.settings import ServerSettings


def prepare(environ: MutableMapping[str, str]) -> None:
    """Keep numpy from keeping threads that nothing here uses. What the operator has set stays."""
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def make_app(settings: ServerSettings, environ: MutableMapping[str, str]) -> Flask:
    """`app.create_app`, with the libraries prepared before it is imported."""
    prepare(environ)
    app: Flask = importlib.import_module("ml_backend.app").create_app(settings)
    return app
