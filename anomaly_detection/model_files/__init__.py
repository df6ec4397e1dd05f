"""Models in files: written, read, converted, inspected."""
