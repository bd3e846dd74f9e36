"""One module for each format or shape of record; `known` lists them."""
