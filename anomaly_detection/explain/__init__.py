"""Reasons: which columns make a record abnormal, as values and in words."""
