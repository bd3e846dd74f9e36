"""What the commands show people: tables of at most 80 columns, and sentences. A view decides nothing."""
