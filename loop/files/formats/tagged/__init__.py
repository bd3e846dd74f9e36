"""Files of tokens with tags: CoNLL, and the schemes of tags."""
