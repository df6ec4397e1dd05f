"""Levels of categories: how rare, beside which others, misspelt, misplaced or new."""
