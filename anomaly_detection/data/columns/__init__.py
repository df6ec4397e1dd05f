"""What a column is, and the clean table that follows: found out, declared, read."""
