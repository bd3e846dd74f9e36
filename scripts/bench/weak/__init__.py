"""What weak labels are worth: sources, suggestions, aggregation, training, speed."""
