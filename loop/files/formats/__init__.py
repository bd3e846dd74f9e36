"""One module for each format or shape of record, in four rooms; `known` lists them."""
