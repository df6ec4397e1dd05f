"""Records on their way in: judged, kept, known again, and gone when their time is over."""
