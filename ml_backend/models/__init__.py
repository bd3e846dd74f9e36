"""The models that answer: which of them serve, where their windows run, and the memory that they leave behind."""
