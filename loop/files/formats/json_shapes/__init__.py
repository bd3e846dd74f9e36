"""Records of JSON, one module for each shape, and what the shapes share."""
