"""What features compute, compiled: the same results as the plain ways beside it, bit for bit."""
