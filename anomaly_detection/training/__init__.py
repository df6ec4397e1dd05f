"""Training: fit, search, compress, compare."""
