from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loop.study.data import HowToRead, StudyTexts, read_texts
from ner.errors import InputError


def record(text: str, label: str | None = "OS", **more: Any) -> dict[str, Any]:
    """A text whose first word is an entity, or that has none."""
    spans = [] if label is None else [{"start": 0, "end": text.index(" "), "label": label}]
    return {"text": text, "spans": spans, **more}


def written(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
    return path


def read(data: Path, dev: Path | None = None, labels: tuple[str, ...] = (), share: float = 0.3) -> StudyTexts:
    return read_texts([data], dev, share=share, labels=labels, seed=13, how=HowToRead())


def test_texts_of_one_group_stand_on_one_side(tmp_path: Path) -> None:
    records = [record(f"Windows {number} fails", doc=f"post {number // 5}") for number in range(50)]
    texts = read(written(tmp_path / "gold.jsonl", records))
    train, dev = ({document.group_key for document in side} for side in (texts.train, texts.dev))
    assert train and dev and not train & dev
    assert len(texts.train) + len(texts.dev) == 50


def test_the_same_seed_holds_the_same_texts_back(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold.jsonl", [record(f"Windows {number} fails") for number in range(30)])
    assert read(gold).dev == read(gold).dev


def test_what_is_judged_by_is_not_learned_from_and_that_is_said(tmp_path: Path) -> None:
    gold = [record("Debian boots"), record("Windows fails", doc="a"), record("Ubuntu hangs"), record("macOS stops")]
    dev = [record("Debian boots"), record("Fedora waits", doc="a")]
    texts = read(written(tmp_path / "gold.jsonl", gold), written(tmp_path / "dev.jsonl", dev))
    assert [document.text for document in texts.train] == ["Ubuntu hangs", "macOS stops"]
    assert [document.text for document in texts.dev] == ["Debian boots", "Fedora waits"]
    assert texts.said == ("2 texts left out of the training: the text or its group is judged by.",)


def test_labels_are_those_of_both_files_unless_they_are_named(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold.jsonl", [record(f"Windows {number} fails") for number in range(5)])
    dev = written(tmp_path / "dev.jsonl", [record("Excel waits", "SOFTWARE"), record("Debian boots")])
    assert read(gold, dev).labels.types == ("OS", "SOFTWARE")
    named = read(gold, dev, ("OS",))
    assert named.labels.types == ("OS",)
    assert [len(document.spans) for document in named.dev] == [0, 1]
    assert named.said == ("1 span of other labels count as no entity: SOFTWARE.",)


def test_a_type_without_an_example_to_learn_from_is_named(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold.jsonl", [record(f"Windows {number} fails") for number in range(5)])
    dev = written(tmp_path / "dev.jsonl", [record("Excel waits", "SOFTWARE"), record("Debian boots")])
    told = "No example of SOFTWARE to learn from: no variant can find such entities."
    assert read(gold, dev).said == (told,)
    assert read(gold, labels=("OS", "SOFTWARE")).said == (told,)


def test_a_text_is_learned_from_once_as_it_was_labelled_first(tmp_path: Path) -> None:
    records = [record(f"Windows {number} fails") for number in range(9)]
    texts = read(written(tmp_path / "gold.jsonl", [*records, record("Windows 3 fails", None)]))
    assert sorted(texts.counts((*texts.train, *texts.dev)).items()) == [("OS", 9)]
    assert texts.said == ("1 repeated text left out of the training.",)


def test_texts_without_labels_are_kept_for_the_student_unless_they_are_judged_by(tmp_path: Path) -> None:
    records = [record("Windows fails"), record("Ubuntu hangs"), {"text": "a pool of texts"}]
    records += [{"text": "of a group that judges", "doc": "a"}, {"text": "Debian boots"}]
    dev = [record("Debian boots"), record("Fedora waits", doc="a"), {"text": "nobody labelled this"}]
    texts = read(written(tmp_path / "gold.jsonl", records), written(tmp_path / "dev.jsonl", dev))
    assert texts.unlabelled == ("a pool of texts",)
    assert texts.said == ("1 text to judge by left out: without labels.",)


def test_several_files_are_one_set_of_texts_and_one_of_them_may_be_a_pool(tmp_path: Path) -> None:
    first, second = ([record(f"Windows {number} {word}") for number in range(4)] for word in ("fails", "hangs"))
    files = [written(tmp_path / f"{name}.jsonl", records) for name, records in (("a", first), ("b", second))]
    files.append(tmp_path / "pool.txt")
    files[-1].write_text("a text of the pool\nanother text of the pool\n", "utf-8")
    texts = read_texts(files, None, share=0.3, labels=(), seed=13, how=HowToRead())
    assert len(texts.train) + len(texts.dev) == 8
    assert sorted(texts.unlabelled) == ["a text of the pool", "another text of the pool"]


@pytest.mark.parametrize(
    "records",
    [[{"text": "nobody looked"}], [record("Windows fails")], [record(f"it {n} fails", None) for n in range(9)]],
)
def test_too_little_gold_is_refused(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match=r"texts to study hold entities|4 texts or more in all"):
        read(written(tmp_path / "gold.jsonl", records))


def test_texts_that_nobody_labelled_are_refused_with_their_number(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold.jsonl", [{"text": f"it {n} fails"} for n in range(3)])
    with pytest.raises(InputError, match=r"got none in gold.jsonl: 0 labelled texts and 3 without labels"):
        read(gold)


def test_a_label_that_nobody_used_is_refused_with_the_advice_to_check_labels(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold.jsonl", [record(f"Windows {number} fails") for number in range(9)])
    with pytest.raises(InputError, match=r"9 texts, 0 with entities.*check --labels"):
        read(gold, labels=("PERSON",))
