"""The shared core: text to windows to logits to decoding to spans, and back for training."""
