"""Alerts and cases as people work on them: found, changed, undone, hidden by rules, counted."""
