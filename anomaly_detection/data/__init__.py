"""Tables: read, written, and what their columns are."""
