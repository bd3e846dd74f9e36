"""Label Studio's CONLL2003 export: recognised, and refused where it cannot say what the project asks."""

from __future__ import annotations

import pytest

from loop.files.reading import LabelRule, Request, survey
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from tests.loop.files.read import CONFIG, as_input

EXPORT = "-DOCSTART- -X- O\nMs -X- _ O\nBol -X- _ B-PER\nleft -X- _ O\nRiga -X- _ O\n\n"


def test_a_project_with_several_labels_refuses_it_since_it_writes_o_for_the_regions_of_all_but_one():
    config = LabelConfig.parse(
        '<View><Labels name="people" toName="t"><Label value="PER"/></Labels>'
        '<Labels name="places" toName="t"><Label value="LOC"/></Labels><Text name="t" value="$text"/></View>'
    )
    with pytest.raises(InputError, match="CONLL2003 export holds the regions of one <Labels>"):
        survey(as_input(EXPORT), Request(config), LabelRule(config))


@pytest.mark.parametrize("rows", ["Bol -X- _ B-First Name\n", "Ms -X- _ O\n" * 9000 + "\nBol -X- _ B-First Name\n"])
def test_a_label_with_a_space_is_refused_with_the_export_that_holds_it(rows: str):
    with pytest.raises(InputError, match=r"labels with spaces.*B-First Name.*JSON"):
        survey(as_input(f"-DOCSTART- -X- O\nMs -X- _ O\n{rows}left -X- _ O\n\n"), Request(CONFIG), LabelRule(CONFIG))
