"""A trained model for other programs: a folder in the shape that each of them reads, proven and with a model card."""
