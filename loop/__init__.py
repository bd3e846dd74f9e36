"""The loop: pull, retrain, evaluate, promote, publish."""
