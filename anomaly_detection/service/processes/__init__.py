"""The processes of a service: listening, started, watched and measured."""
