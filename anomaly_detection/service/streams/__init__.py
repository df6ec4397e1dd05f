"""Streams: the records of one table of somebody's, and what its owner says of it."""
