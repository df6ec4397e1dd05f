"""Features: what a record looks like beside the training records."""
