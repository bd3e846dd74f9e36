"""Whether a candidate serves: gates, holdout, promotion, rollback."""
