"""Drawn texts with entities, in scripts with spaces between words and in scripts without. No text is about anybody."""

from __future__ import annotations

from random import Random

from loop.files.writing.texts import StoredText
from ner.spans import Span
from scripts.files.sample_files import LABELS

_WORDS = (
    *(
        "the",
        "a",
        "of",
        "in",
        "for",
        "printer",
        "network",
        "crashed",
        "after",
        "update",
        "with",
        "screen",
        "is",
        "slow",
    ),
    *("der", "für", "Gerät", "läuft", "größer", "nach", "schließt", "über", "heißt", "und", "gestört", "Straße"),
    *(
        "le",
        "à",
        "été",
        "réseau",
        "après",
        "où",
        "très",
        "façade",
        "écran",
        "déjà",
        "příliš",
        "žlutý",
        "kůň",
        "w",
        "się",
    ),
    *("в", "и", "сеть", "после", "экран", "работает", "η", "και", "οθόνη", "δίκτυο", "الشاشة", "بعد", "من", "🙂", "🚒"),
)
_NAMES = {
    "PER": ("Arlen", "Ester Falk", "Jörg Ölmez", "Żaneta Kos", "M. Brill", "Ó Néill", "Анна Берг", "Άννα", "Al", "Lü"),
    "ORG": ("Boro GmbH", "Delphi & Co.", "Käfer-Werke", "EU", "Müller und Söhne", "Société Étoile", "Сокол", "X1"),
    "LOC": ("Graz", "Sankt Pölten", "Île-de-Brume", "Köln", "Ister", "New Holm", "Łódka", "Река", "Φάρος"),
}
_AROUND = (("", ""),) * 6 + (("(", ")"), ("„", "“"), ("", ","), ("", "."), ("", ":"))
_CHARACTERS = "的一是在不了有和人这中大为上个国我以要他時來用們生到作地於出就分對成会可主发年动"
_RUNS = (_CHARACTERS, "のはがをにとでもしたいうきんアイスカメラ", "กขคงจฉชซญดตถทนบปผพฟมยรลวสหอ")
_NAMES_WITHOUT_SPACES = {
    "PER": ("王小明", "田中さくら", "สมชาย"),
    "ORG": ("東方公司", "富士電機", "บริษัท"),
    "LOC": ("北京", "大阪市", "กรุงเทพ"),
}


def spaced_text(draw: Random, name: str) -> StoredText:
    """A text of 4 to 20 words in scripts with spaces, and of up to four entities; one in eight is unlabelled."""
    kinds = [draw.random() < 0.2 for _ in range(draw.randint(4, 20))]
    text, spans = "", []
    for is_name in kinds:
        label = draw.choice(LABELS)
        before, behind = draw.choice(_AROUND)
        word = draw.choice(_NAMES[label] if is_name and len(spans) < 4 else _WORDS)
        start = len(text) + len(before)
        if word in _NAMES[label]:
            spans.append(Span(start, start + len(word), label))
        text += f"{before}{word}{behind} "
    return StoredText(name, text.rstrip(), None if draw.random() < 0.125 else tuple(spans), "train")


def unspaced_text(draw: Random, name: str) -> StoredText:
    """A text of 10 to 40 characters of one script without spaces, and of up to three entities."""
    run = draw.randrange(len(_RUNS))
    text, spans = "", []
    for label in draw.choices((None, *LABELS), weights=(6, 1, 1, 1), k=6):
        text += "".join(draw.choices(_RUNS[run], k=draw.randint(2, 6)))
        if label is not None:
            word = _NAMES_WITHOUT_SPACES[label][run]
            spans.append(Span(len(text), len(text) + len(word), label))
            text += word
    return StoredText(name, text, tuple(spans), "train")
