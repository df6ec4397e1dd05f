"""The report of a training run: tables, plots, the page."""
