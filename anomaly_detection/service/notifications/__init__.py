"""Who is told of what: channels, messages, and their sending."""
