"""From the votes of many sources to the labels that a model learns from."""
