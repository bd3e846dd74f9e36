"""`loop study`: variants of a training on the same data, side by side."""
