"""Labelling functions for kitchen notes: two lists and two patterns, written before the notes."""

from __future__ import annotations

from pathlib import Path

from weak_labeling.functions import labeling_function
from weak_labeling.gazetteers import Gazetteer, load_terms
from weak_labeling.heuristics import regex

LISTS = Path(__file__).parent / "gazetteers"
UNITS = "g|kg|ml|l|cl|cups?|tbsp|tsp|tablespoons?|teaspoons?|grams?|litres?|pinch(?:es)?|slices?|cloves?|sticks?"

ingredients = labeling_function(name="ingredients")(Gazetteer(load_terms(LISTS / "ingredients.txt"), "INGREDIENT"))

tools = labeling_function(name="tools")(Gazetteer(load_terms(LISTS / "tools.txt"), "TOOL"))

measured_quantities = labeling_function(name="measured_quantities")(
    regex(rf"\b(?:\d+(?:[.,/]\d+)?|half a|a|one|two|three|four) ?(?:{UNITS})\b", "QUANTITY")
)

bare_numbers = labeling_function(name="bare_numbers")(regex(r"\b\d+(?= (?:eggs|onions|carrots|lemons)\b)", "QUANTITY"))
