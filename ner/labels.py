"""Entity types and their BIO tags: which tag has which id, and which tag may follow which."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ner.arrays import BoolArray
from ner.errors import InputError

OUTSIDE = "O"
# Decoding compares every tag with every other tag, so that its time and memory grow with the square.
MAX_TYPES = 1000

# The tag of tokens outside entities, and the names that the rows of the averages have beside those of the types.
_TAKEN = (OUTSIDE, "micro", "macro")


@dataclass(frozen=True)
class LabelSet:
    """The entity types of a project, in order, and their IOB2 tags (Ramshaw and Marcus 1995).

    Tag 0 is O. Type number k has B- as tag 2k + 1 and I- as tag 2k + 2, so an odd tag always begins an entity.
    Raises InputError where there is no type, or more than MAX_TYPES; where a type is empty, repeated, has whitespace at
    either end, or is named "O", "micro" or "macro".
    """

    types: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", tuple(self.types))
        if not self.types:
            raise InputError("a label set has at least one entity type", next_step="Name the types, e.g. SOFTWARE,OS.")
        if len(self.types) > MAX_TYPES:
            raise InputError(f"a label set has at most {MAX_TYPES:,} entity types", value=f"{len(self.types):,}")
        for name in self.types:
            _check_type(name)
        repeated = sorted(name for name, times in Counter(self.types).items() if times > 1)
        if repeated:
            raise InputError("entity types are unique", value=repeated, next_step="Name each type once.")

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """("O", "B-X", "I-X", ...): the tag of each id, in the order of `types`."""
        return (OUTSIDE, *(f"{prefix}-{name}" for name in self.types for prefix in "BI"))

    @cached_property
    def tag_ids(self) -> dict[str, int]:
        """The id of each tag."""
        return {tag: index for index, tag in enumerate(self.tags)}

    def index(self, name: str) -> int:
        """The position of the type among `types`. Raises InputError for an unknown type."""
        try:
            return self.types.index(name)
        except ValueError:
            raise InputError(
                f"a label is one of {', '.join(self.types)}", value=name, next_step="Mend the label or the label list."
            ) from None

    def begin(self, name: str) -> int:
        """The id of the type's B- tag."""
        return 2 * self.index(name) + 1

    def inside(self, name: str) -> int:
        """The id of the type's I- tag."""
        return 2 * self.index(name) + 2

    def allowed_transitions(self) -> BoolArray:
        """(num_tags, num_tags), read-only: whether the tag of the column may follow the tag of the row.

        I-X may follow only B-X and I-X. Every other tag may follow any tag.
        """
        return self._transitions

    def allowed_start(self) -> BoolArray:
        """(num_tags,), read-only: whether a sequence may begin with the tag; I- tags may not."""
        return self._start

    @cached_property
    def _transitions(self) -> BoolArray:
        size = len(self.tags)
        allowed = np.ones((size, size), dtype=np.bool_)
        allowed[:, 2::2] = False
        for inside in range(2, size, 2):
            allowed[[inside - 1, inside], inside] = True
        allowed.setflags(write=False)
        return allowed

    @cached_property
    def _start(self) -> BoolArray:
        allowed = np.ones(len(self.tags), dtype=np.bool_)
        allowed[2::2] = False
        allowed.setflags(write=False)
        return allowed


def _check_type(name: object) -> None:
    if not isinstance(name, str):
        raise InputError("an entity type is a string", value=name)
    if not name or name != name.strip():
        raise InputError("an entity type is not empty and has no whitespace at its ends", value=repr(name))
    if name in _TAKEN:
        raise InputError('an entity type is not named "O", "micro" or "macro"', value=name, next_step="Rename it.")
