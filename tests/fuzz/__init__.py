"""What makes bad model files out of good ones; see README.md."""
