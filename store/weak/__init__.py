"""Weak labels: the votes, the sources that cast them, and the answers that prompted models were paid for."""
