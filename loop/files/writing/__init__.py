"""One module for each format that the store's texts and gold are written in, and what they share."""
