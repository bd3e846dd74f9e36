"""Label Studio's API, and nothing of this project's store."""
