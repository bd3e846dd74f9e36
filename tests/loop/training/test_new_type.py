"""A type that comes late: what texts that were annotated before teach about it, and what a model keeps of before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loop.evaluation.scores import evaluate_bundle, judgeable
from loop.judging import evidence
from loop.training import lora
from loop.training.batches import IGNORED, FramedWindow, encode, frame, outside_tags
from loop.training.encoder import load_base
from loop.training.trainer import cross_entropy
from loop.weak import aggregating
from ner.documents import LabelledText
from ner.labels import LabelSet
from ner.models.bundle import load_bundle
from ner.spans import Span
from ner.tagger import Tagger
from store.gold import GoldDocument
from tests.loop import tiny
from tests.loop.desk import Desk, make_desk
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.source import Vote

LABELS = LabelSet(("OS", "SOFTWARE", "VERSION"))
OUTSIDE = (0, 5, 6)  # O, and the tags of VERSION
FLOATS = st.lists(st.floats(-9, 9), min_size=7, max_size=7)


@given(FLOATS, st.sampled_from(range(7)), st.booleans())
def test_a_silent_text_learns_that_a_token_is_outside_or_of_a_type_it_is_silent_on(
    row: list[float], tag: int, soft: bool
) -> None:
    """A property: O costs minus the log of what O and the tags of VERSION have together, every other tag its own."""
    logits, tags = torch.tensor([[row, row]], dtype=torch.float64), torch.tensor([[tag, IGNORED]])
    allowed = outside_tags([FramedWindow(np.array([1, 2]), np.array([tag, IGNORED]), outside=OUTSIDE)], 7)
    certain = torch.nn.functional.one_hot(tags.clamp(min=0), 7).double() if soft else None
    shares = torch.softmax(logits[0, 0], -1)
    expected = -shares[list(OUTSIDE) if tag == 0 else [tag]].sum().log()
    assert float(cross_entropy(logits, tags, certain, allowed)) == pytest.approx(float(expected))


@given(FLOATS)
def test_the_share_of_a_type_in_what_is_outside_is_not_changed_by_a_silent_text(row: list[float]) -> None:
    """A property: a step down the loss moves all outside tags alike, in logits per unit of their share."""
    logits = torch.tensor([[row]], dtype=torch.float64, requires_grad=True)
    allowed = outside_tags([FramedWindow(np.array([1]), np.array([0]), outside=OUTSIDE)], 7)
    cross_entropy(logits, torch.tensor([[0]]), None, allowed).backward()
    slopes, shares = logits.grad[0, 0], torch.softmax(logits[0, 0], -1).detach()
    assert bool((slopes[list(OUTSIDE)] <= 1e-12).all())  # no outside tag is pushed down
    per_share = (slopes / shares)[list(OUTSIDE)]
    assert per_share.tolist() == pytest.approx([float(per_share[0])] * 3)


def test_only_windows_of_silent_texts_leave_a_type_open(tmp_path: Path) -> None:
    base = load_base(str(tiny.encoder(tmp_path)), LABELS, 24)
    pairs = [("my Windows", frozenset({"VERSION"})), ("my Ubuntu", frozenset())]
    framed = [
        window
        for text, silent in pairs
        for window in frame(encode(text, (), base.text_encoder, LABELS, 24, silent), base.text_encoder)
    ]
    assert [window.outside for window in framed] == [OUTSIDE, ()]
    allowed = outside_tags(framed, 7)
    assert [row.nonzero().flatten().tolist() for row in allowed] == [list(OUTSIDE), [0]]
    assert outside_tags(framed[1:], 7) is None


def test_the_rows_of_tags_that_stay_are_kept_under_their_new_numbers(tmp_path: Path) -> None:
    folder = str(tiny.encoder(tmp_path / "encoder"))
    settings = tiny.train_settings(Path(folder))
    before = LabelSet(("SOFTWARE", "OS", "HARDWARE"))
    old = lora.attach(load_base(folder, before, 24), settings, len(before.tags))
    lora.save(old, tmp_path / "adapter")
    new = lora.attach(load_base(folder, LABELS, 24), settings, len(LABELS.tags))
    names = lora._earlier_names(before.types, LABELS, {"HARDWARE": "VERSION"})
    assert names == {"OS": "OS", "SOFTWARE": "SOFTWARE", "VERSION": "HARDWARE"}
    lora.load_weights(new, tmp_path / "adapter", lora._rows(before, names.values()))
    assert torch.equal(weights(new), weights(old)[[0, 3, 4, 1, 2, 5, 6]])


def test_what_became_of_each_label_is_said() -> None:
    before = ("OS", "HARDWARE", "ERROR")
    names = lora._earlier_names(before, LabelSet(("OS", "DEVICE", "VERSION")), {"HARDWARE": "DEVICE"})
    assert lora._label_changes(before, names) == "VERSION is new; HARDWARE is DEVICE now; ERROR is forgotten"


def test_a_type_that_is_joined_with_another_is_an_obstacle_and_is_said_to_be(tmp_path: Path) -> None:
    """Its entities are of the other type now, in texts that the model counts as learned."""
    base, settings = load_base(str(tiny.encoder(tmp_path)), LABELS, 24), tiny.train_settings(tmp_path)
    before = SimpleNamespace(labels=("OS", "SOFTWARE", "HARDWARE", "VERSION"), settings={}, encoder="another")
    assert lora._obstacle(before, base, LABELS, settings, {"HARDWARE": "OS"}) == "HARDWARE is part of OS now"  # type: ignore[arg-type]
    assert "OS" not in str(lora._obstacle(before, base, LABELS, settings, {"OS": "SOFTWARE"}))  # type: ignore[arg-type]
    both = LabelSet(("OS", "DEVICE"))
    joined = {"HARDWARE": "DEVICE", "SOFTWARE": "DEVICE"}
    assert lora._obstacle(before, base, both, settings, joined) == "HARDWARE is part of DEVICE now"  # type: ignore[arg-type]


def test_no_system_is_judged_by_a_type_that_the_gold_is_silent_on() -> None:
    says = (Span(3, 10, "OS"), Span(11, 13, "VERSION"))
    gold = GoldDocument(
        1, "a", "a", "h", "my Windows 10", says[:1], 1, "holdout", None, False, 0, 0, frozenset({"VERSION"})
    )
    answers = SimpleNamespace(spans=(says,), error="")
    [text] = evidence._documents([(gold, gold.spans)], answers, (says,), answers)  # type: ignore[arg-type]
    assert text.candidate == text.incumbent == text.reference == text.gold == says[:1]


def test_votes_for_a_type_that_the_gold_is_silent_on_do_not_count_against_their_source() -> None:
    votes = (Vote(Span(3, 10, "OS"), "names"), Vote(Span(11, 13, "VERSION"), "numbers"))
    text = VotedText(1, "my Windows 10", votes)
    assert aggregating._judgeable(text, frozenset({"VERSION"})).votes == votes[:1]
    assert aggregating._judgeable(text, frozenset()) is text


def weights(model: object) -> torch.Tensor:
    """The classifier's, (num_tags, hidden)."""
    [found] = [weight for name, weight in lora.trainable(model).items() if name.endswith("default.weight") and
               "lora_" not in name]  # fmt: skip
    return found


def test_a_prediction_of_a_type_that_nobody_looked_for_is_not_judged() -> None:
    spans = (Span(0, 2, "OS"), Span(3, 5, "VERSION"))
    assert judgeable(spans, {"VERSION"}) == spans[:1]
    assert judgeable(spans, ()) == spans


def files(first: int, last: int, *, versions: bool) -> list[dict[str, object]]:
    """Records of the tiny corpus; with `versions`, the number at the end of each text is a VERSION."""
    made = []
    for number, (text, spans) in enumerate(tiny.corpus(last)):
        found = [{"start": span.start, "end": span.end, "label": span.label} for span in spans]
        at = text.rindex(" ") + 1
        found += [{"start": at, "end": len(text), "label": "VERSION"}] if versions else []
        made.append({"id": f"r{number}", "text": text, "spans": found})
    return made[first:]


@pytest.mark.training
def test_a_new_type_is_learned_from_new_texts_alone_and_the_old_ones_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By commands alone: labels.xml gains a type, files come that have it, and `loop retrain` learns it."""
    desk: Desk = make_desk(tmp_path / "desk", capsys, monkeypatch)
    quick = tiny.train_settings(tiny.encoder(tmp_path / "encoder")).model_dump()
    desk.configure(**{f"train__{name}": value for name, value in quick.items()})
    desk.loop("import", str(desk.write("old.jsonl", *files(0, 80, versions=False))), "--split", "train")
    desk.loop("import", str(desk.write("dev.jsonl", *files(80, 100, versions=False))), "--split", "holdout")
    assert desk.loop("retrain").code == desk.loop("promote").code == 0
    xml = desk.home / "labels.xml"
    xml.write_text(xml.read_text().replace('<Label value="OS"', '<Label value="VERSION"/><Label value="OS"'))
    desk.loop("import", str(desk.write("new.jsonl", *files(100, 120, versions=True))), "--split", "train")
    trained = desk.loop("retrain", "--json")
    assert trained.code == 0, trained.out
    assert trained.json["parent"] is None
    told = "\n".join(trained.json["notices"])
    assert "training starts from the base, not from desk-0001: VERSION is new" in told
    assert "VERSION came after 80 documents had been annotated" in told
    tagger = Tagger(load_bundle(Path(trained.json["path"])))
    texts = [
        LabelledText(str(one["id"]), str(one["text"]), tuple(Span(**span) for span in one["spans"]))  # type: ignore[attr-defined]
        for one in files(120, 150, versions=True)
    ]
    scores = evaluate_bundle(tagger, texts)
    assert scores.per_type["VERSION"].f1 > 0.8
    # The holdout is silent on VERSION: the model finds it there, and nothing of that is held against the model.
    on_holdout = desk.loop("evaluate", trained.json["version"], "--json").json
    assert on_holdout["types"]["VERSION"]["predicted"] == 0
    assert on_holdout["micro"]["f1"] > 0.8
