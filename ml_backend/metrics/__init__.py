"""What `/metrics` tells: of this backend, of the loop, and of what annotators did with the pre-labels."""
