"""A model is asked in a process of its own, and what it said and cost is measured."""
