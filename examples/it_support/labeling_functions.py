"""Labelling functions for IT-support messages, written from general knowledge and never tuned on the gold file.

Each votes for the spans it recognises and says nothing about the rest. Add your own below; names must be distinct.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ner.spans import Span
from weak_labeling.functions import labeling_function
from weak_labeling.gazetteers import Gazetteer, load_terms
from weak_labeling.heuristics import near_keyword, regex

LISTS = Path(__file__).parent / "gazetteers"

MAKERS = (
    "Acer|Apple|Asus|Brother|Canon|Cisco|Dell|Epson|Fujitsu|Garmin|Google|HP|Huawei|Jabra|Kyocera|Lenovo|LG|Logitech|"
    "Netgear|Poly|Ricoh|Samsung|Sony|Synology|TP-Link|Ubiquiti|Western Digital|Xerox|Zebra"
)
SOFTWARE_HOUSES = "Microsoft|Adobe|Autodesk|Cisco|Citrix|Google|Oracle|SAP|Sophos|VMware"
VERSION = r"v?\d+(?:\.\d+)+(?:[-_]?(?:alpha|beta|rc|SP|p|b)\d*)?"

software_names = labeling_function(name="software_names")(Gazetteer(load_terms(LISTS / "software.txt"), "SOFTWARE"))

software_common_words = labeling_function(name="software_common_words")(
    Gazetteer(load_terms(LISTS / "software_common_words.txt"), "SOFTWARE", case="exact")
)

os_names = labeling_function(name="os_names")(Gazetteer(load_terms(LISTS / "os.txt"), "OS"))

hardware_nouns = labeling_function(name="hardware_nouns")(Gazetteer(load_terms(LISTS / "hardware.txt"), "HARDWARE"))

software_of_a_house = labeling_function(name="software_of_a_house")(
    regex(rf"\b(?:{SOFTWARE_HOUSES}) (?!Windows)[A-Z][a-z]\w+(?: [A-Z]\w+)?", "SOFTWARE")
)

executables = labeling_function(name="executables")(regex(r"\b[\w-]{1,60}\.exe\b", "SOFTWARE", flags=re.IGNORECASE))

windows_in_short = labeling_function(name="windows_in_short")(
    regex(r"\bwin(?:7|8|8\.1|10|11)\b|\bwin(?= (?:7|8|10|11)\b)", "OS", flags=re.IGNORECASE)
)

hardware_models = labeling_function(name="hardware_models")(
    regex(rf"\b(?:{MAKERS})(?: [A-Z][A-Za-z]+)? [A-Z]*-?[A-Z]?\d+\w*\b", "HARDWARE")
)

version_shapes = labeling_function(name="version_shapes")(
    regex(rf"(?<![\w./@-])(?:{VERSION}|[12]\dH[12]|KB\d{{6,7}})(?![\w/@-]|\.\d)", "VERSION", flags=re.IGNORECASE)
)

versions_after_a_word = labeling_function(name="versions_after_a_word")(
    regex(r"\b(?:version|build|release|firmware|ver\.?) (v?\d[\w.]*\w|\d)", "VERSION", group=1, flags=re.IGNORECASE)
)

error_constants = labeling_function(name="error_constants")(
    regex(r"\b(?:0x[0-9a-f]{4,16}|(?:[A-Z]+_){2,}[A-Z]+|ORA-\d{5}|[A-Z]\w+(?:Exception|Error))\b", "ERROR")
)

numbers_after_error = labeling_function(name="numbers_after_error")(
    regex(r"\b(?:error|code|errno)(?: code| number)?[ :#]{1,2}(\d{2,5})\b", "ERROR", group=1, flags=re.IGNORECASE)
)

http_statuses = labeling_function(name="http_statuses")(
    near_keyword(
        regex(r"\b(?:HTTP )?(?:40[0134589]|429|50[0-4])\b", "ERROR"),
        ("error", "errors", "gives", "http", "returns", "status", "throws"),
        before=4,
        after=2,
    )
)


@labeling_function(name="releases_after_a_product")
def releases_after_a_product(text: str) -> Iterator[Span]:
    """A number right after the name of a product that is numbered by year or generation: Windows 11, Office 2019."""
    product = (
        r"\b(?:Windows(?: Server)?|Win|Office|Exchange|SQL Server|AutoCAD|macOS|iOS|Android|Ubuntu|Debian|Java|PHP)"
    )
    for match in re.finditer(product + r" (\d{1,4}(?:\.\d+)*(?: R2| LTS)?)\b", text, re.IGNORECASE):
        yield Span(match.start(1), match.end(1), "VERSION")
