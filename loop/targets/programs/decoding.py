"""From a text to its entities, as the project that trained this model finds them. Needs numpy and tokenizers."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

HERE = Path(__file__).parent
SETUP = json.loads((HERE / "decoding.json").read_text("utf-8"))
ENCODE = Tokenizer.from_file(str(HERE / "tokenizer.json")).encode
UNSPACED = re.compile(SETUP["unspaced"])  # beside these characters, words have no blanks
TAG = np.arange(len(SETUP["tags"]))  # 0 is O; an odd tag begins an entity, and the tag behind it goes on with it
GOES_ON = (TAG > 0) & (TAG % 2 == 0)
FORBIDDEN = np.where(GOES_ON & (TAG[:, None] != TAG) & (TAG[:, None] != TAG - 1), 1e9, 0.0)
BREAKS = (TAG % 2 == 1) | ((TAG == 0) & (TAG[:, None] > 0))


def windows(ids):  # (first token, framed ids) of each: a long text is read in windows that share a quarter
    room = SETUP["max_length"] - len(SETUP["before"] + SETUP["after"])
    starts = [*range(0, len(ids) - room, room - room // 4), max(len(ids) - room, 0)]
    return [(start, SETUP["before"] + ids[start : start + room] + SETUP["after"]) for start in starts]


def read(ids, logits):  # (n, tags): each token counts in the window in which it has more context
    parts, skip = windows(ids), len(SETUP["before"])
    room = len(parts[0][1]) - skip - len(SETUP["after"])
    cuts = [0, *((a + room + b) // 2 for (a, _), (b, _) in pairwise(parts)), len(ids)]
    rows = [logits(part)[skip + cuts[i] - at : skip + cuts[i + 1] - at] for i, (at, part) in enumerate(parts)]
    return np.concatenate(rows).astype(float)


def best_path(scores, costs):  # the n tags of the best path on which no entity goes on that was not begun (Viterbi)
    score, steps = scores[0] - FORBIDDEN[0], []
    for row, cost in zip(scores[1:], costs[1:], strict=True):
        paths = score[:, None] - FORBIDDEN - cost * BREAKS
        steps.append(paths.argmax(0))
        score = paths.max(0) + row
    path = [int(score.argmax())]
    for step in reversed(steps):
        path.append(int(step[path[-1]]))
    return path[::-1]


def joints(text, bounds):  # what stands before each token: within a word, breaks are dear
    worded = [any(map(str.isalnum, text[start:end])) for start, end in bounds]
    sides = [(a, b) for (_, a), (b, _) in pairwise(bounds)]
    touches = [b < a or (b == a and not UNSPACED.search(text, a - 1, b + 1)) for a, b in sides]
    touches = [False, *touches, False]
    before, after, seen = [], [], False
    for i, word in enumerate(worded):
        before.append(seen and touches[i])
        seen = before[-1] or word
    for i in reversed(range(len(worded))):
        after.append(worded[i] or (touches[i + 1] and after[-1]))
    kinds = ["gap"]
    for i, (a, b) in enumerate(sides, 1):
        edge = "inside" if before[i] and after[-1 - i] else "punctuation"
        word = touches[i] and text[a - 1].isalnum() and text[b].isalnum()
        kinds.append("gap" if b > a else "word" if word else edge)
    return kinds


def entities(text, logits):  # logits: from the ids of a window to (tokens, tags)
    tokens = ENCODE(text, add_special_tokens=False)
    bounds = [(b - len(text[a:b].lstrip()), a + len(text[a:b].rstrip())) for a, b in tokens.offsets]
    real = [i for i, (start, end) in enumerate(bounds) if start < end]
    if not real:
        return []
    path = best_path(
        read(tokens.ids, logits)[real], [SETUP["costs"][joint] for joint in joints(text, [bounds[i] for i in real])]
    )
    found, free = [], 0  # the byte-level tokens of one character share its place: only the first entity gets it
    for tag, (start, end) in zip(path, (bounds[i] for i in real), strict=True):
        if tag % 2:
            found.append({"start": max(start, free), "end": max(end, free), "label": SETUP["tags"][tag][2:]})
        elif tag:
            found[-1]["end"] = end
        free = found[-1]["end"] if found else 0
    return [one for one in found if one["start"] < one["end"]]
