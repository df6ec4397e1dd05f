"""Smaller models: pruned, quantised."""
