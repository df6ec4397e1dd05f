"""How tables lie in files: CSV, Excel, JSON, Parquet, read and written without losing a character."""
