"""The store and Label Studio are kept equal: pull, publish, connect."""
