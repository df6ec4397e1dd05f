"""Rows of other people's databases: read and written by URL."""
