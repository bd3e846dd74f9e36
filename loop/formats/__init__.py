"""The file formats that texts and spans come in and go out as, each read one record at a time."""
