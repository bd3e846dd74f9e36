"""The folder of a study: report.html in one file, report.md for a terminal, report.json with every figure."""

from __future__ import annotations

import json
from pathlib import Path

from loop.console import plain
from loop.report.files import HTML, JSON, MARKDOWN
from loop.report.page.html import render_html
from loop.report.page.markdown import render_markdown
from loop.settings.whole_files import whole_folder, write_whole
from loop.study.page import page_of
from loop.study.results import Study


def write_report(study: Study, folder: Path) -> None:
    """Write the report; the folder is there whole or not at all. Raises InputError where it is taken."""
    page = page_of(study)
    with whole_folder(folder) as draft:
        write_whole(draft / JSON, json.dumps(plain(study), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
        write_whole(draft / HTML, render_html(page))
        write_whole(draft / MARKDOWN, render_markdown(page))
