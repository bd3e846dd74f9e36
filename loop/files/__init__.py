"""People's files: `formats` reads them, `writing` writes them; import, export, prediction."""
