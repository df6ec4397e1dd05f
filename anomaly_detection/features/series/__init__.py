"""Readings and rows in their order: what falls out of its series, stands still, or repeats."""
