"""Judged records."""
