"""What is known: documents, annotations, models and decisions, in one SQL database."""
