"""Files of rows and columns: CSV, Parquet, and folders of `datasets`."""
