"""Exact Shapley values of forests."""
