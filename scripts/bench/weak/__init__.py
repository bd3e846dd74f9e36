"""What aggregations of weak labels are worth."""
