"""How the database came to its tables, version by version."""
