"""Dates, and columns that follow from others."""
