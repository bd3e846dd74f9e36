"""How good labels are: what annotators did with pre-labels, and which annotations may be wrong."""
