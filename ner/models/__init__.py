"""A model as a folder: where its files are kept and proven, and what answers with its logits."""
