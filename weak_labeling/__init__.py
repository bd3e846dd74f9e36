"""Labelling functions, and how their votes become spans."""
