"""What all features of a row come to: tails, surprises, excuses, and what verdicts teach."""
