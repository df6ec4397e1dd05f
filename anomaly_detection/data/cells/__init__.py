"""What a cell says: numbers, dates, yes and no, units and what stands for a missing value, a column at a time."""
