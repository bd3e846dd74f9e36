"""The boundary to libraries that print: what they have to say to developers is kept from the terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, progress bars or log lines below ERROR from transformers, torch and onnxruntime inside."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    root = logging.getLogger()
    hide = logging.Filter()
    hide.filter = lambda record: record.levelno >= logging.ERROR  # type: ignore[method-assign]
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    root.addFilter(hide)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(hide)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
