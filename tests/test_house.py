"""The house as ARCHITECTURE.md tells it: its paths exist, each type has a name of its own, report facts are typed."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("ner", "store", "weak_labeling", "loop", "ml_backend")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
# Programs travel with an exported model, and are no modules of this project.
MODULES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")) if path.parent.name != "programs"]


def test_every_path_that_the_architecture_names_exists():
    named = re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w./]*)`", ARCHITECTURE)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_module_on_the_ways_through_exists():
    ways = ARCHITECTURE.split("## The way through", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(rf"\b((?:{'|'.join(PACKAGES)})(?:\.[a-z_0-9]+)+)", ways))
    assert len(named) > 20
    missing = [name for name in sorted(named) if not _exists(name)]
    assert missing == []


def test_no_two_types_have_the_same_name():
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_what_a_report_tells_is_typed():
    report = [path for path in MODULES if "report" in path.parts]
    assert len(report) > 10
    untyped = [path.name for path in report if "dict[str, Any]" in path.read_text("utf-8")]
    assert untyped == []


def test_whoever_opens_a_model_asks_the_library_which_fetches_models_of_other_hosts():
    opens = re.compile(r"(?:load_bundle|read_manifest|ask_served|ask_fp32|check_contract)\(.*model_dir")
    wrong = [path.as_posix() for path in MODULES if opens.search(path.read_text("utf-8"))]
    assert wrong == []


def _exists(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module defines."""
    path = ROOT.joinpath(*name.split("."))
    module = path.parent.with_suffix(".py")
    defined = module.is_file() and f" {path.name}" in module.read_text("utf-8")
    return defined or path.is_dir() or path.with_suffix(".py").is_file()
