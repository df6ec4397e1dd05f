"""From scores to decisions: thresholds, p-values, drift."""
